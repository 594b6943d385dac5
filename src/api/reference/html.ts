/** Text that is HTML already. Everything else is escaped where it is put in. */
export interface Html {
  readonly html: string;
}

type Part = Html | string | number | null | readonly Part[];

export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { html: texts.map((text, i) => text + (i < parts.length ? inserted(parts[i] ?? null) : '')).join('') };
}

function inserted(part: Part): string {
  if (part === null) return '';
  if (typeof part === 'string' || typeof part === 'number') return escaped(String(part));
  return isHtml(part) ? part.html : part.map(inserted).join('');
}

const isHtml = (part: Html | readonly Part[]): part is Html => 'html' in part;

const MARKS: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
]);

const escaped = (text: string): string => text.replace(/[&<>"']/g, (mark) => MARKS.get(mark) ?? mark);

/** Words of ours, in which code stands between backticks. */
export const prose = (text: string): Html => html`${text.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part))}`;
