import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { type Finding, meant, sentence } from './finding.js';

/**
 * A place in the configuration. Reading collects every mistake instead of stopping at the first, and reads scalars from
 * their source text, so that 0.075 is exactly 3/40, and 1e400, 0x10 and 010 are seen as they were written.
 */
export interface Cursor {
  readonly path: string;
  /** False for what is absent or `null`. */
  readonly exists: boolean;
  /** True also for `null`: the operator wrote the key. */
  readonly isStated: boolean;
  readonly kind: 'missing' | 'map' | 'list' | 'text';
  /** The values of these keys; any other key is a mistake. */
  fields<Key extends string>(known: readonly Key[]): Readonly<Record<Key, Cursor>>;
  /** The pairs of a map whose keys are names of the operator's own. */
  entries(allowed: string): readonly (readonly [string, Cursor])[];
  items(allowed: string): readonly Cursor[];
  /** The text of a scalar, with `${…}` filled in; `plain` when it was not quoted. */
  scalar(allowed: string): { readonly text: string; readonly plain: boolean; readonly filled: boolean } | undefined;
  /** Records a mistake here. `secret` keeps what was found out of the message. */
  wrong(
    allowed: string,
    options?: { readonly found?: string; readonly secret?: boolean; readonly severity?: Finding['severity'] },
  ): undefined;
}

export interface ReadOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
}

const BYTES_MAX = 4_000_000;
const DEPTH_MAX = 32;

/** Parses a file. Every finding of every cursor that comes from it lands in `findings`. Never throws. */
export function openYaml(text: string, options: ReadOptions): { readonly root: Cursor; readonly findings: Finding[] } {
  const findings: Finding[] = [];
  const lines = new LineCounter();
  const context: Context = { findings, lines, options };
  const nothing = cursorAt(context, undefined, { path: '', offset: 0 });
  const problem = sizeProblem(text);
  if (problem) {
    nothing.wrong('a configuration of at most 4 MB, nested at most 32 deep', { found: problem });
    return { root: nothing, findings };
  }
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      version: '1.2',
      schema: 'core',
      merge: false,
      prettyErrors: false,
      logLevel: 'silent',
    });
    for (const { message, pos } of [...document.errors, ...document.warnings]) findings.push(syntax(message, pos[0], context));
    return { root: cursorAt(context, document.contents as Node | null, { path: '', offset: 0 }), findings };
  } catch (problem) {
    nothing.wrong('YAML', { found: `something unreadable (${String(problem).slice(0, 80)})` });
    return { root: nothing, findings };
  }
}

interface Context {
  readonly findings: Finding[];
  readonly lines: LineCounter;
  readonly options: ReadOptions;
}

interface Place {
  readonly path: string;
  readonly offset: number;
}

function sizeProblem(text: string): string | undefined {
  if (text.length > BYTES_MAX) return `${text.length} characters`;
  let [depth, deepest] = [0, 0];
  for (const character of text) {
    if (character === '[' || character === '{') deepest = Math.max(deepest, ++depth);
    else if ((character === ']' || character === '}') && depth > 0) depth -= 1;
    else if (character === '\n') depth = 0;
  }
  return deepest > DEPTH_MAX ? `${deepest} brackets inside each other` : undefined;
}

function syntax(message: string, offset: number, { lines }: Context): Finding {
  const { line, col } = lines.linePos(offset);
  const hint = /[Aa]lias|flow|block|implicit|Unexpected scalar|plain value/.test(message)
    ? ' Text with * { } [ ] : or # must be quoted.'
    : '';
  const found = message.split('\n')[0] ?? message;
  return { line, column: col, path: '', found, allowed: 'YAML', message: `${found}.${hint}`, severity: 'error' };
}

function cursorAt(context: Context, node: Node | null | undefined, place: Place): Cursor {
  const range = node?.range?.[0] ?? place.offset;
  const exists = !!node && !(isScalar(node) && node.value === null);
  const cursor: Cursor = {
    path: place.path,
    exists,
    isStated: node !== undefined,
    kind: !exists ? 'missing' : isMap(node) ? 'map' : isSeq(node) ? 'list' : 'text',
    fields: (known) => fieldsOf(context, cursor, node, { known, offset: range }),
    entries: (allowed) => entriesOf(context, cursor, node, allowed).map(({ key, value }) => [key, value] as const),
    items: (allowed) => {
      if (!exists) return [];
      if (!isSeq(node)) return cursor.wrong(allowed) ?? [];
      return node.items.map((item, index) => cursorAt(context, item as Node, { path: `${place.path}[${index}]`, offset: range }));
    },
    scalar: (allowed) => scalarOf(context, cursor, node, allowed),
    wrong: (allowed, { found = shown(node), secret = false, severity = 'error' } = {}) => {
      const { line, col } = context.lines.lineStarts.length > 0 ? context.lines.linePos(range) : { line: 1, col: 1 };
      const what = secret ? 'a value that is not shown here' : found;
      context.findings.push({ line, column: col, path: place.path, found: what, allowed, message: sentence(what, allowed), severity });
      return undefined;
    },
  };
  return cursor;
}

function entriesOf(
  context: Context,
  cursor: Cursor,
  node: Node | null | undefined,
  allowed: string,
): { key: string; value: Cursor; at: Cursor }[] {
  if (!cursor.exists) return [];
  if (!isMap(node)) return cursor.wrong(allowed) ?? [];
  const found: { key: string; value: Cursor; at: Cursor }[] = [];
  for (const pair of node.items) {
    if (!isPair(pair) || !isScalar(pair.key)) {
      cursorAt(context, pair.key as Node, { path: cursor.path, offset: 0 }).wrong('a name as the key');
      continue;
    }
    const keyNode = pair.key as Node;
    const key = pair.key.source ?? String(pair.key.value);
    const place = { path: cursor.path ? `${cursor.path}.${key}` : key, offset: keyNode.range?.[0] ?? 0 };
    found.push({ key, value: cursorAt(context, pair.value as Node | null, place), at: cursorAt(context, keyNode, place) });
  }
  return found;
}

function fieldsOf<Key extends string>(
  context: Context,
  cursor: Cursor,
  node: Node | null | undefined,
  want: { readonly known: readonly Key[]; readonly offset: number },
): Readonly<Record<Key, Cursor>> {
  const { known, offset } = want;
  const named = new Map<string, Cursor>();
  for (const { key, value, at } of entriesOf(context, cursor, node, `a group of settings: ${known.join(', ')}`)) {
    if ((known as readonly string[]).includes(key)) {
      named.set(key, value);
      continue;
    }
    const guess = meant(key, known);
    at.wrong(known.join(', '), { found: `the unknown key "${key.slice(0, 64)}"${guess ? ` (did you mean "${guess}"?)` : ''}` });
  }
  const path = (key: string): string => (cursor.path ? `${cursor.path}.${key}` : key);
  const fields = known.map((key) => [key, named.get(key) ?? cursorAt(context, undefined, { path: path(key), offset })] as const);
  return Object.fromEntries(fields) as Record<Key, Cursor>;
}

function scalarOf(context: Context, cursor: Cursor, node: Node | null | undefined, allowed: string): ReturnType<Cursor['scalar']> {
  if (isAlias(node)) return cursor.wrong(allowed, { found: 'a YAML alias (write the value out)' });
  if (!isScalar(node) || node.tag || node.anchor) return cursor.wrong(allowed, isScalar(node) ? { found: 'a YAML tag or anchor' } : {});
  const source = node.source ?? String(node.value);
  if (!source.includes('${')) return { text: source, plain: node.type === 'PLAIN', filled: false };
  const text = filledIn(context, cursor, source);
  return text === undefined ? undefined : { text, plain: true, filled: true };
}

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** `${NAME}` from the environment, `${file:/path}` from a file. What is not there is a mistake, never an empty text. */
function filledIn(context: Context, cursor: Cursor, source: string): string | undefined {
  let isComplete = true;
  const text = source.replace(/\$\{([^}]*)\}?/g, (_, name: string) => {
    const value = name.startsWith('file:') ? fileText(context, name.slice(5)) : ENV_NAME.test(name) ? context.options.env[name] : undefined;
    if (value) return value;
    isComplete = false;
    const found = name.startsWith('file:') ? `\${${name}}, which cannot be read or is empty` : `\${${name}}, which is not set`;
    cursor.wrong(`an environment variable that is set, or \${file:/path} of a readable file`, { found });
    return '';
  });
  return isComplete ? text : undefined;
}

function fileText(context: Context, path: string): string | undefined {
  try {
    return context.options.readFile(path).trim();
  } catch {
    return undefined;
  }
}

function shown(node: Node | null | undefined): string {
  if (!node) return 'nothing';
  if (isMap(node)) return 'a group of settings';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node)) return 'a YAML alias';
  if (node.value === null) return 'nothing';
  const text = node.source ?? String(node.value);
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
