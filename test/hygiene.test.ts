import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { files, ROOT, read, sources } from './support/source.js';

const code = ['src', 'test', 'scripts', 'bench', 'proof'].flatMap(sources);
const tests = code.filter((file) => file.path.startsWith('test/'));

/** The places of everything that matches, as `file:line`. */
function places(of: readonly { path: string; text: string }[], pattern: RegExp): string[] {
  return of.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 80)}`] : [])),
  );
}

const asCode = code.map((file) => ({ path: file.path, text: file.code }));

test('the repository was really read', () => {
  expect(code.length).toBeGreaterThan(20);
  expect(places(asCode, /\bexport\b/).length).toBeGreaterThan(50);
});

describe('types', () => {
  test('nothing is any', () => {
    const typed = asCode.filter(({ path }) => !path.endsWith('.mjs'));
    expect(places(typed, /(?::|\bas|<|\||&|=>)\s*any\b(?!\s*[:(])|\bany\[\]/)).toEqual([]);
  });

  test('the compiler is never silenced', () => {
    const words = new RegExp(`@ts-(?:${['ignore', 'nocheck', 'expect-error'].join('|')})`);
    expect(places(code, words).filter((place) => !place.startsWith('test/hygiene.test.ts'))).toEqual([]);
  });

  test('no default exports and no enums', () => {
    const ours = asCode.filter(({ path }) => path.startsWith('src/') || path.startsWith('test/'));
    expect(places(ours, /\bexport\s+default\b|^\s*(?:export\s+)?(?:const\s+)?enum\s/)).toEqual([]);
  });
});

test('a place has a name: no folder or file called after what it is not', () => {
  const banned = /(?:^|\/)(?:utils?|common|helpers?|shared|core|lib|managers?|services?|misc|v2)(?:\/|\.[a-z]+$)/i;
  expect(code.filter((file) => banned.test(file.path)).map((file) => file.path)).toEqual([]);
});

describe('tests', () => {
  test('none is skipped, focused or postponed', () => {
    const wrong =
      /\b(?:test|it|describe|suite|bench)(?:\.\w+)*\.(?:skip|only|todo|fails|skipIf|runIf)\b|\b(?:xit|xtest|fit|fdescribe|xdescribe)\s*\(/;
    expect(
      places(
        asCode.filter(({ path }) => path.startsWith('test/')),
        wrong,
      ),
    ).toEqual([]);
  });

  test('every test file has a test that expects something', () => {
    const empty = tests.filter(
      (file) =>
        file.path.endsWith('.test.ts') &&
        !(/\bexpect\b|\bassert\b|describe\w+Store\(/.test(file.code) && /\b(?:test|it|describe\w*)\b/.test(file.code)),
    );
    expect(empty.map((file) => file.path)).toEqual([]);
  });
});

test('nothing is left to do in the code, and nothing points away from the repository', () => {
  const everything = [
    ...code,
    ...['docs', 'migrations', 'src', '.ci']
      .flatMap((folder) => files(folder, '.md', '.sql', '.lua', '.css', '.html', 'run'))
      .map((path) => ({ path, text: read(path) })),
    ...readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(?:md|json|ya?ml|ts)$|^Dockerfile$/.test(entry.name) && entry.name !== 'package-lock.json')
      .map((entry) => ({ path: entry.name, text: read(entry.name) })),
  ].filter(({ path }) => path !== join('test', 'hygiene.test.ts'));
  const words = [
    /\b(?:TODO|FIXME|XXX|HACK)\b/,
    /\/work\/(?:main|shared)/,
    /\/tmp\/b(?:rief|ash_jobs)/,
    /\bbrief\.md\b/,
    /co-authored-by/i,
    /\(#\d+\)|\bissues? #?\d+/i,
  ];
  const secrets = [/-----BEGIN [A-Z ]*PRIVATE KEY/, /\b(?:sk|rk)_live_[0-9a-zA-Z]{10}/, /\bghp_[0-9A-Za-z]{30}/, /\bAKIA[0-9A-Z]{16}\b/];
  expect([...words, ...secrets].flatMap((pattern) => places(everything, pattern))).toEqual([]);
});

// C12
describe('the lock file', () => {
  const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
  const packages = Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/'));

  test('every package has its checksum and none names a registry', () => {
    expect(packages.length).toBeGreaterThan(50);
    expect(packages.filter(([, one]) => !one.link && !one.integrity).map(([path]) => path)).toEqual([]);
    expect(packages.filter(([, one]) => one.resolved !== undefined).map(([path]) => path)).toEqual([]);
  });

  test('it is whole: packages for other platforms are in it too, or `npm ci` would refuse it', () => {
    const known = new Set(packages.map(([path]) => nameOf(path)));
    const missing = packages.flatMap(([path, one]) =>
      Object.keys(one.optionalDependencies ?? {})
        .filter((name) => !known.has(name))
        .map((name) => `${path} → ${name}`),
    );
    expect(missing).toEqual([]);
  });

  test('no package needs an install script', () => {
    const works = new Set(['esbuild', 'fsevents']); // both ship their binary as a package; the script only makes the first start faster
    const scripted = packages.filter(([path, one]) => one.hasInstallScript && !works.has(nameOf(path)));
    expect(scripted.map(([path]) => path)).toEqual([]);
    expect(
      packages.filter(([, one]) => one.hasInstallScript && !one.dev && !one.optional && !one.devOptional).map(([path]) => path),
    ).toEqual([]);
  });

  test.each([
    ['hono', '4.12.21'],
    ['@hono/node-server', '1.19.13'],
    ['undici', '7.24.0'],
    ['drizzle-orm', '0.45.2'],
    ['better-auth', '1.3.26'],
  ])('%s is not older than %s, which fixed known holes', (name, floor) => {
    const low = packages.filter(([path, one]) => nameOf(path) === name && isOlder(one.version ?? '0', floor));
    expect(low).toEqual([]);
  });

  test('the image leaves out what others may use but do not need: a peer of ours would bring our test tools along', () => {
    expect(read('Dockerfile')).toContain('npm ci --omit=dev --omit=optional ');
    const needed = packages.filter(([, one]) => !one.dev && !one.optional && !one.devOptional).map(([path]) => nameOf(path));
    expect(needed).toContain('better-auth');
    expect(needed.filter((name) => /^(?:vitest|vite|esbuild|tsx|typescript)$/.test(name))).toEqual([]);
  });

  test('few packages run in production', () => {
    const direct = Object.keys((JSON.parse(read('package.json')) as { dependencies: object }).dependencies);
    expect(direct.length).toBeLessThanOrEqual(30);
    expect(packages.filter(([, one]) => !one.dev && !one.optional && !one.devOptional).length).toBeLessThanOrEqual(150);
  });
});

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
  readonly hasInstallScript?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

function isOlder(version: string, floor: string): boolean {
  const [a = [], b = []] = [version, floor].map((text) => text.split(/[.-]/).map(Number));
  for (let i = 0; i < 3; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  return false;
}
