import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository as text, for tests about its shape. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface SourceFile {
  /** Path from the root, with `/`. */
  readonly path: string;
  readonly text: string;
  /** The same text with comments, strings and regular expressions blanked, line by line. */
  readonly code: string;
  readonly lines: number;
  readonly imports: readonly Import[];
}

export interface Import {
  /** A path from the root for our own files, else a package name. */
  readonly target: string;
  readonly ours: boolean;
  readonly typeOnly: boolean;
}

const SKIPPED = new Set(['node_modules', '.git', 'dist', 'data', 'out', 'coverage', '.test']);

/** Every file below a folder whose name ends in one of these. */
export function files(folder: string, ...endings: string[]): string[] {
  const top = join(ROOT, folder);
  if (!existsSync(top)) return [];
  return readdirSync(top, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : files(path, ...endings);
    return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
  });
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

export function sources(folder: string): SourceFile[] {
  return files(folder, '.ts', '.tsx', '.mjs').map((path) => {
    const text = read(path);
    const code = blank(text);
    return { path, text, code, lines: text.trimEnd().split('\n').length, imports: importsOf(path, text, code) };
  });
}

export function importsOf(path: string, text: string, code: string): Import[] {
  const found: Import[] = [];
  const pattern = /\b(?:import|export)\s+(type\s)?(?:[\w\s{},*$]*?\bfrom\s*)?(?=['"])|\bimport\(\s*(?=['"])|\brequire\(\s*(?=['"])/g;
  for (const match of code.matchAll(pattern)) {
    const at = (match.index ?? 0) + match[0].length;
    const name = /^(['"])([^'"\n]*)\1/.exec(text.slice(at))?.[2];
    if (name === undefined) continue;
    const braces = /\{([^}]*)\}/.exec(match[0])?.[1];
    const inlineTypes = braces?.split(',').every((part) => part.trim() === '' || part.trim().startsWith('type ')) ?? false;
    found.push({ ...resolve(path, name), typeOnly: match[1] !== undefined || inlineTypes });
  }
  return found;
}

function resolve(from: string, name: string): { target: string; ours: boolean } {
  if (!name.startsWith('.')) {
    const parts = name.split('/');
    return { target: name.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? name), ours: false };
  }
  const path = relative(ROOT, join(ROOT, dirname(from), name));
  const candidates = [path.replace(/\.js$/, '.ts'), path.replace(/\.js$/, '.tsx'), path, `${path}.ts`, `${path}.tsx`];
  return { target: candidates.find((candidate) => existsSync(join(ROOT, candidate))) ?? path, ours: true };
}

const TOKENS = [
  /\/\*[\s\S]*?\*\//y,
  /\/\/[^\n]*/y,
  /'(?:[^'\\\n]|\\[\s\S])*'/y,
  /"(?:[^"\\\n]|\\[\s\S])*"/y,
  // A regular expression stands where a value may begin, never after a name, a number or a closing bracket.
  /(?<=(?:^|[=(,:[!&|?{};>\n]|\breturn)\s*)\/(?![/*])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y,
];

/** Blanks everything that is not code, keeping every offset and line break. Templates are blanked around their `${…}`. */
export function blank(text: string): string {
  const out = text.split('');
  const depths: number[] = []; // open `${`: how many braces deep each one is
  let at = 0;
  const wipe = (to: number) => {
    for (; at < to; at++) if (out[at] !== '\n') out[at] = ' ';
  };
  const template = () => {
    while (at < text.length && text[at] !== '`' && !text.startsWith('${', at)) wipe(at + (text[at] === '\\' ? 2 : 1));
    if (text[at] === '`') wipe(at + 1);
    else if (at < text.length) {
      depths.push(0);
      wipe(at + 2);
    }
  };
  while (at < text.length) {
    const end = tokenEnd(text, at);
    const letter = text[at];
    const depth = depths.at(-1);
    if (end > at && keepQuotes(text, at)) at = end;
    else if (end > at) wipe(end);
    else if (letter === '`') {
      wipe(at + 1);
      template();
    } else if (letter === '}' && depth === 0) {
      depths.pop();
      wipe(at + 1);
      template();
    } else {
      if (depth !== undefined && letter === '{') depths[depths.length - 1] = depth + 1;
      if (depth !== undefined && letter === '}') depths[depths.length - 1] = depth - 1;
      at++;
    }
  }
  return out.join('');
}

function tokenEnd(text: string, at: number): number {
  for (const token of TOKENS) {
    token.lastIndex = at;
    const match = token.exec(text);
    if (match) return at + match[0].length;
  }
  return at;
}

/** Module names must stay findable: a quoted text right after `from`, `import` or `import(` is left alone. */
function keepQuotes(text: string, at: number): boolean {
  if (text[at] !== "'" && text[at] !== '"') return false;
  return /\b(?:from|import|import\(|require\()\s*$/.test(text.slice(Math.max(0, at - 12), at));
}

export interface Fn {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

const CONTROL = /^\s*(?:\} )?(?:if|for|while|switch|catch|else|do|try|finally|return|with)\b/;

/**
 * Functions and their lengths. The formatter puts the closing brace under the line that opened the function, so
 * indentation is enough; it reads what the formatter wrote, and the formatter runs in the same check.
 */
export function functionsOf(file: SourceFile): Fn[] {
  const lines = file.code.split('\n');
  return lines.flatMap((line, index) => {
    if (!/\{\s*$/.test(line)) return [];
    const opens = /=>\s*\{\s*$/.test(line) || /\bfunction\b/.test(line) || (/\)(?::[^=]*)?\s\{\s*$/.test(line) && !CONTROL.test(line));
    if (!opens || /^\s*(?:export )?(?:abstract )?(?:class|interface|type|enum)\b/.test(line)) return [];
    const indent = /^\s*/.exec(line)?.[0] ?? '';
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${indent}}`));
    const start = signatureStart(lines, index, indent);
    return end < 0 ? [] : [{ name: (lines[start] ?? '').trim().slice(0, 60), line: start + 1, lines: end - start + 1 }];
  });
}

/** Parameters over several lines: the line that closes them is not where the function began. */
function signatureStart(lines: readonly string[], index: number, indent: string): number {
  if (!(lines[index] ?? '').startsWith(`${indent})`)) return index;
  for (let at = index - 1; at >= 0; at--) {
    const line = lines[at] ?? '';
    if (line.startsWith(indent) && !/^\s/.test(line.slice(indent.length)) && line.trim() !== '') return at;
  }
  return index;
}
