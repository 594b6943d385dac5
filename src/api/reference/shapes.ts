import { nameOf, type Shape } from './document.js';
import { type Html, html, prose } from './html.js';

type Shapes = Readonly<Record<string, Shape>>;

/** What a value is, in a line: `text`, `number or null`, `list of Token`. */
export function typeOf(shape: Shape): Html {
  if (shape.$ref) return html`<a href="#shape-${nameOf(shape.$ref)}">${nameOf(shape.$ref)}</a>`;
  const either = shape.anyOf ?? shape.oneOf;
  if (either) return oneOf(either.map(typeOf));
  if (shape.enum) return oneOf([...shape.enum.map((one) => html`<code>${JSON.stringify(one)}</code>`), ...orNull(shape)]);
  if (shape.items) return oneOf([html`list of ${typeOf(shape.items)}`, ...orNull(shape)]);
  const types = [shape.type ?? []].flat();
  if (types.length === 0) return html`anything`;
  return oneOf(types.map((type) => html`${word(type, shape)}`));
}

const WORDS: ReadonlyMap<string, string> = new Map([
  ['string', 'text'],
  ['integer', 'whole number'],
  ['boolean', 'true or false'],
]);
const FORMATS: ReadonlyMap<string, string> = new Map([
  ['date-time', 'time'],
  ['date', 'day'],
  ['email', 'e-mail address'],
  ['password', 'password'],
]);

const word = (type: string, shape: Shape): string =>
  type === 'string' && shape.format ? (FORMATS.get(shape.format) ?? 'text') : (WORDS.get(type) ?? type);

const orNull = (shape: Shape): Html[] => (Array.isArray(shape.type) && shape.type.includes('null') ? [html`null`] : []);

const oneOf = (parts: readonly Html[]): Html => {
  const last = parts.at(-1);
  return parts.length > 1 && last ? html`${joined(parts.slice(0, -1), ', ')} or ${last}` : joined(parts, '');
};

export const joined = (parts: readonly Html[], by: string): Html => html`${parts.map((part, i) => (i === 0 ? part : html`${by}${part}`))}`;

/** The fields of an object, and of the objects inside; shapes with a name are only named. */
export function fieldsOf(shape: Shape): Html | null {
  const inner = insideOf(shape);
  if (!inner?.properties) return null;
  const required = new Set(inner.required);
  const rows = Object.entries(inner.properties).map(([name, field]) => {
    const notes = joined([...(required.has(name) ? [] : [html`may be absent`]), ...limitsOf(field)], ', ');
    return html`<li><code class="name">${name}</code> <span class="type">${typeOf(field)}</span>${noted(notes)}${said(field)}${fieldsOf(field)}</li>`;
  });
  return html`<ul class="fields">${rows}</ul>`;
}

const noted = (notes: Html): Html | null => (notes.html === '' ? null : html` <span class="notes">${notes}</span>`);
const said = ({ description }: Shape): Html | null =>
  description === undefined ? null : html`<br><span class="said">${prose(description)}</span>`;

/** The object in it: itself, the item of a list, or the one of several that has fields. */
function insideOf(shape: Shape): Shape | undefined {
  if (shape.$ref) return undefined;
  if (shape.properties) return shape;
  if (shape.items) return insideOf(shape.items);
  return (shape.anyOf ?? shape.oneOf)?.map(insideOf).find((one) => one !== undefined);
}

export function limitsOf(shape: Shape): Html[] {
  const found: Html[] = [];
  const range = (least: number | undefined, most: number | undefined, unit: string): void => {
    if (least !== undefined && most !== undefined) found.push(html`${least} to ${most}${unit}`);
    else if (most !== undefined) found.push(html`at most ${most}${unit}`);
    else if (least !== undefined) found.push(html`at least ${least}${unit}`);
  };
  range(shape.minimum, shape.maximum, '');
  range(shape.minLength, shape.maxLength, ' characters');
  range(shape.minItems, shape.maxItems, ' items');
  if (shape.pattern !== undefined) found.push(html`like <code>${shape.pattern}</code>`);
  if (shape.default !== undefined) found.push(html`default <code>${JSON.stringify(shape.default)}</code>`);
  return found;
}

const DEPTH_MAX = 6;

/** A value of this shape, as short as it may be, for a request that can be tried. */
export function exampleOf(shape: Shape, shapes: Shapes, depth = 0): unknown {
  const known = shape.example ?? shape.default ?? shape.enum?.[0];
  if (known !== undefined || depth > DEPTH_MAX) return known ?? null;
  if (shape.$ref) return exampleOf(shapes[nameOf(shape.$ref)] ?? {}, shapes, depth + 1);
  const either = (shape.anyOf ?? shape.oneOf)?.[0];
  if (either) return exampleOf(either, shapes, depth + 1);
  if (shape.properties) {
    const needed = (shape.required ?? []).map((name) => [name, exampleOf(shape.properties?.[name] ?? {}, shapes, depth + 1)] as const);
    return Object.fromEntries(needed);
  }
  if (shape.items) return [exampleOf(shape.items, shapes, depth + 1)];
  return SIMPLE.get([shape.type].flat()[0] ?? '') ?? (shape.type === undefined ? '…' : {});
}

const SIMPLE: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['string', '…'],
  ['integer', 1],
  ['number', 1],
  ['boolean', true],
]);
