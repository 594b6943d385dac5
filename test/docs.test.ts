import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from '../src/cli/parse.js';
import { verbsOf } from '../src/cli/run.js';
import { loadConfig } from '../src/config/load.js';
import { createMetrics } from '../src/telemetry/metrics.js';
import { files, ROOT, read, sources } from './support/source.js';

const pages = files('.', '.md');
const texts = new Map(pages.map((path) => [path, read(path)]));
const page = (path: string): string => texts.get(path) ?? '';

/** Blocks between ``` lines, with the word behind the first. */
const fenced = (text: string, word: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter(([, kind]) => kind === word).map(([, , body = '']) => body);

const missing = (wanted: Iterable<string>, there: ReadonlySet<string>): string[] => [...wanted].filter((one) => !there.has(one)).sort();

describe('links', () => {
  test('every relative link leads to a file, and to a heading of it', () => {
    const broken = [...texts].flatMap(([path, text]) =>
      [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target) && !leads(path, target))
        .map((target) => `${path} → ${target}`),
    );
    expect(pages).toContain('README.md');
    expect(broken).toEqual([]);
  });
});

function leads(from: string, target: string): boolean {
  const [file = '', heading] = target.split('#');
  const path = file === '' ? from : normalize(join(dirname(from), file));
  if (!existsSync(join(ROOT, path))) return false;
  return heading === undefined || headingsOf(page(path)).has(heading);
}

/** As GitHub names them. */
const headingsOf = (text: string): ReadonlySet<string> =>
  new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );

describe('errors', () => {
  const documented = new Set([...page('docs/errors.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, code = '']) => code));
  const raised = codesIn([
    ...sources('src/gateway'),
    ...sources('src/api/compat'),
    ...sources('src/pricing').filter(({ path }) => path.endsWith('estimate.ts')),
  ]);

  test('every code that /v1 can answer is explained', () => {
    expect(raised.size).toBeGreaterThan(40);
    expect([...raised].filter((code) => ![...documented].some((known) => patternOf(code).test(known)))).toEqual([]);
  });

  test('every explained code can be answered', () => {
    expect([...documented].filter((known) => ![...raised].some((code) => patternOf(code).test(known)))).toEqual([]);
  });
});

/** Which argument of each constructor of errors is the code. */
const CODE_AT = new Map([
  ['badRequest', 1],
  ['unauthorized', 1],
  ['forbidden', 1],
  ['unavailable', 1],
  ['upstreamError', 1],
  ['bad', 2],
  ['fault', 0],
  ['refusal', 1],
]);

/** Codes as they stand in the sources; `missing_${key}` stands for whatever may be in its place. */
function codesIn(of: readonly { readonly text: string }[]): ReadonlySet<string> {
  const codes = new Set<string>();
  const add = (expression: string, code: RegExp): void => {
    for (const [, found = ''] of expression.matchAll(code)) codes.add(found);
  };
  for (const { text } of of) {
    for (const [, expression = ''] of text.matchAll(/\bcode(?::| =) ([^,\n]*)/g)) add(expression, /'([a-z]+(?:_[a-z]+)+)'/g);
    for (const { 0: call, 1: name = '', index } of text.matchAll(/\b(\w+)\(/g)) {
      const at = CODE_AT.get(name);
      if (at !== undefined) add(argumentsOf(text, index + call.length)[at] ?? '', /['`]((?:[a-z_]|\$\{\w+\})+)['`]/g);
    }
  }
  return codes;
}

const patternOf = (code: string): RegExp => new RegExp(`^${code.replace(/\$\{\w+\}/g, '\\w+')}$`);

/** The arguments of a call, from behind its bracket; commas inside texts and inner brackets do not count. */
function argumentsOf(text: string, start: number): string[] {
  const found = [''];
  let depth = 0;
  let quote = '';
  for (let at = start; at < text.length; at++) {
    const char = text.charAt(at);
    if (quote) quote = char === quote && text[at - 1] !== '\\' ? '' : quote;
    else if (/['"`]/.test(char)) quote = char;
    else if (/[([{]/.test(char)) depth += 1;
    else if (/[)\]}]/.test(char) && depth-- === 0) return found;
    else if (char === ',' && depth === 0) {
      found.push('');
      continue;
    }
    found[found.length - 1] += char;
  }
  return found;
}

describe('operations', () => {
  const operations = page('docs/operations.md');

  test('every variable that is read is explained', () => {
    const reads = /(?:env\[|envOf\(context, |said\('\w+', )('[^)\]]*')/g;
    const read = [...sources('src/config'), ...sources('src/cli')].flatMap(({ text }) =>
      [...text.matchAll(reads)].map(([, names = '']) => names),
    );
    const names = new Set(
      read.flatMap((text) => [...text.matchAll(/'([A-Z][A-Z_]+)'/g)].map(([, name = '']) => name.replace(/_FILE$/, ''))),
    );
    expect(names).toContain('FAREBOX_CONFIG');
    expect(names).toContain('PORT');
    expect(names.size).toBeGreaterThanOrEqual(10);
    expect([...names].filter((name) => !operations.includes(`\`${name}\``))).toEqual([]);
  });

  test('the metrics are exactly those that are published', async () => {
    const documented = new Set([...operations.matchAll(/^\| `(farebox_\w+)` \|/gm)].map(([, name = '']) => name));
    const published = new Set((await createMetrics({ defaults: false }).registry.getMetricsAsJSON()).map(({ name }) => name));
    expect(missing(published, documented)).toEqual([]);
    expect(missing(documented, published)).toEqual([]);
  });

  test('the checks of reconcile that are named exist', () => {
    const checks = new Set(
      [...`${read('src/ledger/checks.ts')}${read('src/ledger/hot.ts')}`.matchAll(/'([a-z]+(?:_[a-z]+)+)'/g)].map(([, name = '']) => name),
    );
    const section = operations.slice(operations.indexOf('### Findings of reconcile'));
    const named = [...section.matchAll(/^\| (`.+?) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
    );
    expect(named.length).toBeGreaterThan(5);
    expect(missing(named, checks)).toEqual([]);
  });
});

describe('commands', () => {
  const scripts = new Set(Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts));
  const verbs = verbsOf(() => Promise.reject(new Error('not run here')));

  test('every npm script that is named exists', () => {
    const named = [...texts.values()].flatMap((text) =>
      [...text.matchAll(/\bnpm (?:run (?:-s )?(\w+)|(start|test)\b)/g)].map(([, a, b]) => a ?? b ?? ''),
    );
    expect(named).toContain('start');
    expect(missing(named, scripts)).toEqual([]);
  });

  test('every farebox command is understood, and works in this version', () => {
    const lines = [...texts.values()].flatMap((text) =>
      [...text.matchAll(/npm run -s farebox -- ([^\n`<]+)/g)].map(([, line = '']) => line),
    );
    const wrong = lines.filter((line) => {
      const parsed = parse(wordsOf(line), verbs);
      return parsed.kind !== 'verb' || parsed.verb.summary.includes('not there yet');
    });
    expect(lines.length).toBeGreaterThan(10);
    expect(wrong).toEqual([]);
  });
});

/** As a shell splits them: quotes hold words together, `#` begins a comment. */
const wordsOf = (line: string): string[] =>
  [...line.replace(/\s#.*$/, '').matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');

describe('configuration', () => {
  const blocks = [...texts].flatMap(([path, text]) => fenced(text, 'yaml').map((yaml) => ({ path, yaml })));
  const env = { OPENAI_API_KEY: 'a-key-for-this-test-only' };

  test('every example loads without a warning', () => {
    const folder = mkdtempSync(join(tmpdir(), 'farebox-docs-'));
    try {
      const said = blocks.flatMap(({ path, yaml }) => {
        const file = join(folder, 'config.yaml');
        writeFileSync(file, yaml);
        const loaded = loadConfig({ file, env });
        return (loaded.ok ? loaded.warnings : loaded.findings).map((finding) => `${path}: ${JSON.stringify(finding)}`);
      });
      expect(blocks.map(({ path }) => path)).toContain('README.md');
      expect(said).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
