import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { files, functionsOf, ROOT, read, type SourceFile, sources } from './support/source.js';

const src = sources('src');
const tests = sources('test');
const rest = [...sources('scripts'), ...sources('bench')];
const all = [...src, ...tests, ...rest];

/** Who may import whom. Root files (main, cli, jobs) import anything, and nobody imports them. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: [],
  config: ['domain', 'telemetry'],
  telemetry: ['domain'],
  db: ['domain', 'telemetry'],
  pricing: ['domain'],
  credits: ['domain', 'telemetry'],
  upstreams: ['domain', 'telemetry'],
  ledger: ['domain', 'telemetry', 'db', 'src/credits/store.ts'],
  mail: ['domain', 'telemetry'],
  accounts: ['domain', 'telemetry', 'db', 'mail'],
  usage: ['domain', 'telemetry', 'db'],
  billing: ['domain', 'telemetry', 'db', 'ledger', 'accounts', 'pricing'],
  gateway: ['domain', 'telemetry', 'pricing', 'upstreams', 'src/credits/store.ts'],
  api: ['domain', 'telemetry', 'accounts', 'billing', 'usage', 'ledger', 'pricing'],
  console: ['domain'],
  client: [],
  cli: ['domain', 'telemetry', 'config', 'db', 'pricing'],
};

/** One package, one door: it can be replaced in one place, and its misuse is easy to find. */
const DOORS: Record<string, readonly string[]> = {
  ioredis: ['src/credits/redis/'],
  stripe: ['src/billing/stripe'],
  undici: ['src/upstreams/'],
  tiktoken: ['src/pricing/'],
  '@pydantic/genai-prices': ['src/pricing/'],
  postgres: ['src/db/'],
  '@electric-sql/pglite': ['src/db/'],
  '@electric-sql/pglite-socket': ['src/db/'],
  yaml: ['src/config/'],
  hono: ['src/gateway/', 'src/api/', 'src/console/'],
  '@hono/node-server': ['src/gateway/', 'src/api/', 'src/console/', 'src/main.ts', 'src/front.ts'],
  '@hono/zod-openapi': ['src/api/'],
  pino: ['src/telemetry/'],
  'prom-client': ['src/telemetry/'],
  nodemailer: ['src/mail/'],
  'better-auth': ['src/accounts/people/'],
  'better-auth/api': ['src/accounts/people/'],
  'better-auth/adapters/drizzle': ['src/accounts/people/'],
  'better-auth/plugins/two-factor': ['src/accounts/people/'],
  'better-auth/plugins/generic-oauth': ['src/accounts/people/'],
  'drizzle-orm': ['src/db/', 'src/accounts/', 'src/usage/', 'src/billing/', 'src/ledger/'],
};

/** Everything that reaches Postgres, and what the gateway has no business with. */
const BEHIND_THE_WALL = ['db', 'ledger', 'accounts', 'billing', 'usage', 'api', 'config', 'console'];

const folderOf = (path: string): string => path.split('/')[1] ?? '';
/** Root files, and the folder of verbs that belongs to one of them. */
const isRoot = (path: string): boolean => /^src\/(?:[^/]+\.ts$|cli\/)/.test(path);
const byPath = new Map(all.map((file) => [file.path, file]));
const ourImports = (file: SourceFile) => file.imports.filter((one) => one.ours);

test('the repository was really read', () => {
  expect(src.length).toBeGreaterThan(10);
  expect(tests.length).toBeGreaterThan(3);
  expect(src.flatMap(ourImports).length).toBeGreaterThan(10);
  expect(src.flatMap(functionsOf).length).toBeGreaterThan(30);
  expect(src.some((file) => file.imports.some((one) => one.typeOnly))).toBe(true);
});

test('every import of ours leads to a file', () => {
  const lost = all.flatMap((file) =>
    ourImports(file).flatMap((one) => (existsSync(join(ROOT, one.target)) ? [] : [`${file.path} → ${one.target}`])),
  );
  expect(lost).toEqual([]);
});

test('folders import only what the table allows', () => {
  const wrong: string[] = [];
  for (const file of src.filter((one) => !isRoot(one.path))) {
    const allowed = MAY_IMPORT[folderOf(file.path)];
    if (!allowed) wrong.push(`${file.path}: its folder is not in the table`);
    for (const { target } of ourImports(file)) {
      if (!target.startsWith('src/')) wrong.push(`${file.path} → ${target} (outside src)`);
      else if (isRoot(target)) wrong.push(`${file.path} → ${target} (a root file)`);
      else if (folderOf(target) === folderOf(file.path)) continue;
      else if (!allowed?.includes(folderOf(target)) && !allowed?.includes(target)) wrong.push(`${file.path} → ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('the gateway takes types, and nothing else, from the credit store', () => {
  const users = src.filter((file) => file.path.startsWith('src/gateway/'));
  const values = users.flatMap((file) => ourImports(file).filter((one) => one.target.startsWith('src/credits/') && !one.typeOnly));
  expect(values).toEqual([]);
});

test('each package is imported through its one door', () => {
  const wrong = src.flatMap((file) =>
    file.imports.flatMap(({ target, ours }) => {
      const doors = ours ? undefined : DOORS[target];
      return doors && !doors.some((door) => file.path.startsWith(door)) ? [`${file.path} → ${target}`] : [];
    }),
  );
  expect(wrong).toEqual([]);
});

test('the wall: no path of imports leads from the gateway to Postgres', () => {
  const reached = new Map<string, string>(); // file → the file that led there
  const queue = src.filter((file) => file.path.startsWith('src/gateway/')).map((file) => file.path);
  expect(queue.length).toBeGreaterThan(0);
  for (let path = queue.pop(); path; path = queue.pop()) {
    const file = byPath.get(path);
    for (const { target } of file ? ourImports(file) : []) {
      if (reached.has(target)) continue;
      reached.set(target, path);
      queue.push(target);
    }
  }
  const leaks = [...reached].filter(([target]) => BEHIND_THE_WALL.includes(folderOf(target)));
  expect(leaks).toEqual([]);
});

test('no import cycles', () => {
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'open') cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
    if (state.has(path)) return;
    state.set(path, 'open');
    const file = byPath.get(path);
    for (const { target } of file ? ourImports(file) : []) visit(target, [...trail, path]);
    state.set(path, 'done');
  };
  for (const file of all) visit(file.path, []);
  expect(cycles).toEqual([]);
});

describe('size budgets', () => {
  test('files have at most 400 lines, the hot path 150, a Lua script 60', () => {
    const long = all.filter((file) => file.lines > (file.path === 'src/gateway/relay.ts' ? 150 : 400));
    expect(long.map((file) => `${file.path}: ${file.lines}`)).toEqual([]);
    const lua = files('src', '.lua').map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }));
    expect(lua.filter(({ lines }) => lines > 60)).toEqual([]);
  });

  test('functions have at most 70 lines', () => {
    const measured = [...src, ...rest, ...tests.filter((file) => file.path.startsWith('test/support/'))];
    const long = measured.flatMap((file) =>
      functionsOf(file).flatMap((fn) => (fn.lines > 70 ? [`${file.path}:${fn.line} ${fn.name} (${fn.lines})`] : [])),
    );
    expect(long).toEqual([]);
  });
});

describe('where money moves', () => {
  test('the driver never opens a transaction of several statements', () => {
    const sight = src.filter((file) => isRoot(file.path) || !['gateway', 'upstreams', 'pricing', 'domain'].includes(folderOf(file.path)));
    const wrong = sight.filter((file) => /\.begin\s*\(|\.transaction\s*[(<]|\.savepoint\s*\(/.test(file.code)).map((file) => file.path);
    expect(wrong).toEqual([]);
  });

  test('what takes time is measured by a clock that nobody sets: the time of day is read only where a date is meant', () => {
    const dates = ['src/gateway/authenticate.ts', 'src/ledger/balance.ts'];
    const sight = src.filter((file) => /^src\/(?:gateway|credits|ledger|db)\//.test(file.path) && !file.path.includes('/embedded/'));
    expect(sight.length).toBeGreaterThan(60);
    expect(sight.filter((file) => /\bDate\.now\b/.test(file.code)).map((file) => file.path)).toEqual(dates);
  });

  test('only ledger/post.ts names the functions and tables that write the ledger', () => {
    const sql = files('migrations', '.sql').map(read).join('\n');
    const writers = ledgerWriters(sql);
    expect(writers.length, 'no ledger-writing SQL functions were found in migrations/').toBeGreaterThan(0);
    const direct = /(?:insert\s+into|update|delete\s+from)\s+(?:only\s+)?(?:public\.)?ledger_\w+/i;
    const wrong = src.flatMap((file) => {
      if (file.path === 'src/ledger/post.ts') return [];
      const named = writers.filter((name) => new RegExp(`\\b${name}\\s*\\(`).test(file.text));
      return [...named, ...(direct.test(file.text) ? ['a ledger table'] : [])].map((what) => `${file.path} names ${what}`);
    });
    expect(wrong).toEqual([]);
  });

  test('only Lua scripts change what Redis holds', () => {
    const store = src.filter((file) => file.path.startsWith('src/credits/redis/'));
    expect(store.length, 'src/credits/redis was not read').toBeGreaterThan(0);
    const writes = /\.(?:hset|hmset|hincrby|hincrbyfloat|hdel|incrby|incr|decrby|decr|zadd|zrem|xadd|xdel|xtrim|unlink|setex|eval)\s*\(/i;
    expect(store.filter((file) => writes.test(file.code)).map((file) => file.path)).toEqual([]);
  });

  test('each Lua script says what its keys are, and uses exactly those', () => {
    const scripts = files('src/credits', '.lua');
    expect(scripts.length, 'no Lua scripts were found').toBeGreaterThan(0);
    const wrong = scripts.flatMap((path) => {
      const text = read(path);
      const header = text
        .split('\n')
        .filter((line) => line.startsWith('--'))
        .join('\n');
      const body = text
        .split('\n')
        .map((line) => line.replace(/--.*$/, ''))
        .join('\n');
      const told = new Set([...header.matchAll(/KEYS\[(\d+)\]/g)].map((match) => match[1]));
      const used = new Set([...body.matchAll(/KEYS\[(\d+)\]/g)].map((match) => match[1]));
      const missing = [...used].filter((key) => !told.has(key)).map((key) => `${path}: KEYS[${key}] is not in the header`);
      return text.startsWith('--') ? missing : [...missing, `${path}: no header`];
    });
    expect(wrong).toEqual([]);
  });

  test('every credit store is held to the one contract', () => {
    const stores = readdirSync(join(ROOT, 'src/credits'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(stores.length, 'no credit stores were found').toBeGreaterThan(0);
    const contracts = tests.filter((file) => /\bdescribeCreditStore\(/.test(file.code) && file.path.endsWith('.test.ts'));
    const untested = stores.filter(
      ({ name }) => !contracts.some((file) => ourImports(file).some((one) => one.target.startsWith(`src/credits/${name}/`))),
    );
    expect(untested.map((entry) => entry.name)).toEqual([]);
  });
});

/** SQL functions whose body writes a ledger table, or which call one that does. */
function ledgerWriters(sql: string): string[] {
  const pattern = /create\s+(?:or\s+replace\s+)?function\s+(?:public\.)?(\w+)\s*\(([\s\S]*?)\bas\s+(\$\w*\$)([\s\S]*?)\3/gi;
  const functions = [...sql.matchAll(pattern)].map((match) => ({ name: match[1] ?? '', body: match[4] ?? '' }));
  const writers = new Set<string>();
  for (let before = -1; before !== writers.size; ) {
    before = writers.size;
    for (const { name, body } of functions) {
      const direct = /insert\s+into\s+(?:public\.)?ledger_(?:txs|entries)\b/i.test(body);
      if (direct || [...writers].some((other) => new RegExp(`\\b${other}\\s*\\(`, 'i').test(body))) writers.add(name);
    }
  }
  return [...writers];
}
