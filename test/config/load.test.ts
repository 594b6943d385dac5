import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { describeFinding, type Finding } from '../../src/config/finding.js';
import { type Loaded, loadConfig } from '../../src/config/load.js';
import { buildBook } from '../../src/pricing/book.js';

const folder = mkdtempSync(join(tmpdir(), 'farebox-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function load(yaml: string, env: Record<string, string> = {}, overrides = {}): Loaded {
  const file = join(folder, `c${files++}.yaml`);
  writeFileSync(file, yaml);
  return loadConfig({ file, env, overrides });
}

function good(yaml: string, env: Record<string, string> = {}, overrides = {}): Extract<Loaded, { ok: true }> {
  const loaded = load(yaml, env, overrides);
  if (!loaded.ok) throw new Error(loaded.findings.map((finding) => describeFinding(finding, 'c.yaml')).join('\n'));
  return loaded;
}

function errors(yaml: string, env: Record<string, string> = {}, overrides = {}): readonly Finding[] {
  const loaded = load(yaml, env, overrides);
  if (loaded.ok) throw new Error('it was accepted');
  return loaded.findings.filter(({ severity }) => severity === 'error');
}

const SMALLEST = `credits: { value: 0.01 USD, base: 200 }     # one credit in money; credits per 1M input tokens at ratio 1
upstreams:
  openai:
    base_url: https://api.openai.com/v1
    api_key: \${OPENAI_API_KEY}
    models: ["gpt-*", "o*", "text-embedding-*"]     # or a list of { name, as } for aliases
models:                                             # prices; what is not here comes from the default book
  gpt-4o-mini: { ratio: 0.075, output: 4x, cached: 0.5x }
  my-flat-model: { per: request, price: 10 }
`;

test('the smallest useful configuration works as it is printed in the documentation', () => {
  const { settings, prices, warnings } = good(SMALLEST, { OPENAI_API_KEY: 'sk-one' });
  expect(warnings).toEqual([]);
  expect(settings.upstreams[0]).toMatchObject({ name: 'openai', apiKey: 'sk-one', baseUrl: 'https://api.openai.com/v1' });
  expect(settings.upstreams[0]?.models).toEqual([
    { pattern: 'gpt-*', as: null },
    { pattern: 'o*', as: null },
    { pattern: 'text-embedding-*', as: null },
  ]);
  const book = buildBook(prices);
  expect(book.find('gpt-4o-mini')?.table.rates.get('input')?.value.text).toBe('15');
  expect(book.find('my-flat-model')?.table.rates.get('request')?.value.text).toBe('10000000');
});

test('no file at all gives every default and the demo model', () => {
  const before = process.cwd();
  process.chdir(folder);
  try {
    const loaded = loadConfig({ env: {} });
    if (!loaded.ok) throw new Error('refused');
    expect(loaded.file).toBeNull();
    expect(loaded.settings).toMatchObject({ host: '127.0.0.1', port: 8080, databaseUrl: null, redisUrl: null, trialCredits: 100 });
    expect(loaded.settings.upstreams.map(({ name, builtin }) => [name, builtin])).toEqual([['demo', true]]);
    expect(loaded.settings.gateway).toMatchObject({ bodyBytesMax: 20_000_000, bodyDepthMax: 64, leaseMs: 20_000, heartbeatMs: 4_000 });
  } finally {
    process.chdir(before);
  }
});

test('an empty file and a file of comments are configurations', () => {
  expect(good('').settings.port).toBe(8080);
  expect(good('# nothing yet\n').settings.port).toBe(8080);
});

test('a file that is named but not there is an error that names it', () => {
  const loaded = loadConfig({ file: join(folder, 'absent.yaml'), env: {} });
  expect(loaded.ok).toBe(false);
  if (!loaded.ok) expect(loaded.findings[0]?.path).toContain('absent.yaml');
});

const HOSTILE = [
  '-1',
  '-0',
  '0',
  '0.0',
  '.nan',
  '.NaN',
  '.inf',
  '-.inf',
  '"2,5"',
  '2,5',
  '1e400',
  '1e3',
  '0x10',
  '0o17',
  '010',
  '1_000',
  '+1',
  '"1.5"',
  'one',
  '[1]',
  '{}',
  'true',
  '~',
  '1.',
  '.5',
  '!!float 2',
  '１',
];

for (const number of HOSTILE) {
  // C1
  test(`a ratio of ${number} is refused with its line and column`, () => {
    const found = errors(`models:\n  a:\n    ratio: ${number}\n    output: 4x\n`);
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]?.path).toMatch(/^(models\.a(\.ratio)?|)$/);
    expect(found[0]?.line).toBeGreaterThanOrEqual(2);
    expect(found[0]?.column).toBeGreaterThan(0);
  });
}

for (const [what, yaml] of [
  ['a negative group', 'groups: { vip: -1 }'],
  ['a group of 0', 'groups: { vip: 0 }'],
  ['a multiple of 0', 'models: { a: { ratio: 1, output: 0x } }'],
  ['a missing output price', 'models: { a: { ratio: 1 } }'],
  ['a bare output number beside a ratio', 'models: { a: { ratio: 1, output: 4 } }'],
  ['ratio and input together', 'models: { a: { ratio: 1, per: 1M tokens, input: 3, output: 4 } }'],
  ['a null price', 'models: { a: }'],
  ['a price that is only a number', 'models: { a: 3 }'],
  ['free: false', 'models: { a: { free: false } }'],
  ['free with a price', 'models: { a: { free: true, ratio: 1 } }'],
  ['a flat price without price', 'models: { a: { per: request } }'],
  ['an unknown unit', 'models: { a: { per: banana, price: 1 } }'],
  ['a tier without a boundary', 'models: { a: { ratio: 1, output: 4x, tiers: [{ ratio: 2 }] } }'],
  ['a tier with two boundaries', 'models: { a: { ratio: 1, output: 4x, tiers: [{ above: 5, from: 5, ratio: 2 }] } }'],
  ['a price like itself', 'models: { a: { like: a } }'],
  ['a credit worth nothing', 'credits: { value: 0 USD }'],
  ['a credit so small that balances pass what can be counted', 'credits: { value: 0.000001 USD }'],
  ['a value without currency', 'credits: { value: 0.01 }'],
  ['a base of 0', 'credits: { base: 0 }'],
  ['more trial credits than a balance can hold', 'credits: { trial: 99999999999 }'],
  ['a time without unit', 'gateway: { drain: 600 }'],
  ['a negative time', 'gateway: { drain: -5s }'],
  ['a heartbeat too slow for its lease', 'gateway: { lease: 10s, heartbeat: 9s }'],
  ['a size that is no size', 'gateway: { body_bytes_max: much }'],
  ['an unknown admission mode', 'admission: lenient'],
  ['the same setting in two places', 'admission: strict\ngateway: { admission: strict }'],
  ['an upstream without models', 'upstreams: { a: { base_url: "http://x" } }'],
  ['an upstream without base_url', 'upstreams: { a: { models: ["x"] } }'],
  ['a star in the middle of a pattern', 'upstreams: { a: { base_url: "http://x", models: ["a*b"] } }'],
  ['a duplicate key', 'models: { a: { free: true }, a: { free: true } }'],
  ['a YAML alias', 'groups: &g { a: 1 }\nmodels: *g'],
  ['a header that belongs to the framing', 'upstreams: { a: { base_url: "http://x", models: ["x"], headers: { Host: y } } }'],
] as const) {
  test(`refused: ${what}`, () => {
    expect(errors(yaml).length).toBeGreaterThan(0);
  });
}

test('every mistake is reported at once, in the order of the file', () => {
  const found = errors(
    'credits: { bas: 200 }\nservr: 1\nmodels:\n  a: { ratio: -1, output: 4x }\n  b: { ratio: 1, output: 4x, cachd: 0.5x }\n',
  );
  expect(found.map(({ line }) => line)).toEqual([1, 2, 4, 5]);
  expect(found[0]).toMatchObject({ path: 'credits.bas', column: 12 });
  expect(found[0]?.message).toContain('did you mean "base"');
  expect(found[1]?.message).toContain('did you mean "server"');
  expect(found[2]).toMatchObject({ path: 'models.a.ratio', column: 15, found: '"-1"' });
  expect(found[3]?.message).toContain('did you mean "cached"');
});

test('a variable that is not set is named, never read as an empty text', () => {
  expect(errors(SMALLEST)[0]?.message).toContain('OPENAI_API_KEY');
  expect(errors(SMALLEST, { OPENAI_API_KEY: '' })[0]?.message).toContain('OPENAI_API_KEY');
});

test('a value can come from a file, and a number from the environment', () => {
  writeFileSync(join(folder, 'key.txt'), 'sk-from-file\n');
  const yaml = `credits: { base: "\${BASE}" }\nupstreams:\n  a: { base_url: "http://x", models: ["x"], api_key: "\${file:${join(folder, 'key.txt')}}" }\n`;
  const { settings, prices, warnings } = good(yaml, { BASE: '250' });
  expect(settings.upstreams[0]?.apiKey).toBe('sk-from-file');
  expect(prices.credits.base).toBe('250');
  expect(warnings).toEqual([]);
  expect(errors(yaml, { BASE: '1e3' })[0]?.path).toBe('credits.base');
});

test('a literal key works with a warning that does not show it', () => {
  const { settings, warnings } = good('upstreams: { a: { base_url: "http://x", models: ["x"], api_key: sk-canary } }');
  expect(settings.upstreams[0]?.apiKey).toBe('sk-canary');
  expect(warnings).toHaveLength(1);
  expect(JSON.stringify(warnings)).not.toContain('canary');
});

test('findings about secrets do not show them', () => {
  const found = [
    ...errors('server: { database_url: "mysql://user:canary@h" }'),
    ...errors('upstreams: { a: { base_url: "http://user:canary@x", models: ["x"] } }'),
    ...errors('', { DATABASE_URL: 'mysql://canary@h', REDIS_URL: 'canary' }),
  ];
  expect(found.length).toBeGreaterThanOrEqual(4);
  expect(JSON.stringify(found)).not.toContain('canary');
});

test('environment wins over the file and the command line over both', () => {
  const yaml = 'server: { port: 1, host: a.example, log_level: warn }';
  expect(good(yaml).settings).toMatchObject({ port: 1, host: 'a.example', logLevel: 'warn' });
  expect(good(yaml, { FAREBOX_PORT: '2', PORT: '3', FAREBOX_HOST: '::1', FAREBOX_LOG_LEVEL: 'debug' }).settings).toMatchObject({
    port: 2,
    host: '::1',
    logLevel: 'debug',
  });
  expect(good(yaml, { PORT: '3' }).settings.port).toBe(3);
  expect(good(yaml, { PORT: '3', FAREBOX_DATA: '/d' }, { port: '4', roles: 'api,worker', data: '/e' }).settings).toMatchObject({
    port: 4,
    dataDir: '/e',
    roles: ['api', 'worker'],
  });
});

for (const [name, value] of [
  ['PORT', '99999'],
  ['FAREBOX_PORT', '0x50'],
  ['FAREBOX_HOST', 'a b'],
  ['FAREBOX_LOG_LEVEL', 'loud'],
  ['DATABASE_URL', 'mysql://x'],
  ['REDIS_URL', 'redis-cluster://nohost'],
  ['FAREBOX_DATA_FILE', '/does/not/exist'],
] as const) {
  test(`the variable ${name} with a wrong value is named`, () => {
    expect(errors('', { [name]: value }).map(({ path }) => path)).toContain(name);
  });
}

test('a variable may be a file, but not both', () => {
  const path = join(folder, 'database.txt');
  writeFileSync(path, 'postgres://h/db\n');
  expect(good('', { DATABASE_URL_FILE: path }).settings.databaseUrl).toBe('postgres://h/db');
  expect(errors('', { DATABASE_URL_FILE: path, DATABASE_URL: 'postgres://x/y' })[0]?.message).toContain('DATABASE_URL_FILE');
});

test('Redis without Postgres is refused with a sentence', () => {
  const found = errors('', { REDIS_URL: 'redis://h:6379' });
  expect(found).toHaveLength(1);
  expect(found[0]?.message).toMatch(/DATABASE_URL/);
  expect(good('', { REDIS_URL: 'redis-cluster://h1:1,h2:2', DATABASE_URL: 'postgres://h/d' }).settings.redisUrl).toBe(
    'redis-cluster://h1:1,h2:2',
  );
});

test('an allowance is so many of the unit, and in seconds where that is a time', () => {
  const { prices } = good(
    'meters: { trace: { per: 1K traces, price: 2, allowance: 10000 }, call: { per: minute, price: 3, step: 30s, allowance: 5 }, q: { per: query, price: 1 } }',
  );
  expect(prices.meters.map(({ allowance }) => allowance)).toEqual([10_000, 300, undefined]);
  const wrong = (meter: string) => errors(`meters: { ${meter} }`).map(({ path }) => path);
  expect(wrong('t: { per: trace, price: 1, allowance: 0 }')).toEqual(['meters.t.allowance']);
  expect(wrong('t: { per: trace, free: true, allowance: 5 }')).toEqual(['meters.t.allowance']);
  expect(wrong('image: { per: picture, price: 1 }')).toEqual(['meters.image']);
});

test('the status for want of credits stands under errors, or under gateway as before, but not under both', () => {
  expect(good('').settings.gateway.insufficientQuotaStatus).toBe(402);
  expect(good('errors: { insufficient_quota_status: 429 }').settings.gateway.insufficientQuotaStatus).toBe(429);
  expect(good('gateway: { insufficient_quota_status: 429 }').settings.gateway.insufficientQuotaStatus).toBe(429);
  const twice = errors('errors: { insufficient_quota_status: 429 }\ngateway: { insufficient_quota_status: 402 }');
  expect(twice.map(({ path, line }) => [path, line])).toEqual([['gateway.insufficient_quota_status', 2]]);
  expect(errors('errors: { insufficient_quota_status: 403 }')).toHaveLength(1);
});

test('a null value of a credit means that it is not published', () => {
  expect(good('credits: { value: null }').settings.credits.value).toBeNull();
  expect(good('credits: { base: 200 }').settings.credits.value).toEqual({ amount: '0.01', currency: 'USD' });
});

test('what is loaded cannot be changed', () => {
  const { settings, prices } = good(SMALLEST, { OPENAI_API_KEY: 'k' });
  expect(() => Object.assign(settings.gateway, { bodyBytesMax: 1 })).toThrow();
  expect(() => (prices.models as unknown[]).push(1)).toThrow();
  expect(() => Object.assign(settings.upstreams[0]?.timeouts ?? {}, { idleMs: 1 })).toThrow();
});

test('the hash changes when anything effective changes, and only then', () => {
  const one = good(SMALLEST, { OPENAI_API_KEY: 'k' }).hash;
  expect(good(`# a comment\n${SMALLEST}`, { OPENAI_API_KEY: 'k' }).hash).toBe(one);
  expect(good(SMALLEST, { OPENAI_API_KEY: 'l' }).hash).not.toBe(one);
});

// E15
test('names such as __proto__ are only names', () => {
  const { prices, settings } = good(
    'models: { __proto__: { free: true }, constructor: reject }\ngroups: { __proto__: 2 }\nupstreams: { a: { base_url: "http://x", models: ["__proto__"] } }',
  );
  expect(prices.models.map(({ pattern }) => pattern)).toEqual(['__proto__', 'constructor']);
  expect(prices.groups).toEqual([{ name: '__proto__', times: '2' }]);
  expect(settings.upstreams[0]?.models[0]?.pattern).toBe('__proto__');
  expect(errors('credits: { __proto__: 1 }')[0]?.message).toContain('__proto__');
});

const example = readFileSync(new URL('../../config.example.yaml', import.meta.url), 'utf8');

test('the example loads without a warning and its prices make a book', () => {
  const loaded = good(example, { OPENAI_API_KEY: 'k' });
  expect(loaded.warnings).toEqual([]);
  const book = buildBook(loaded.prices);
  expect(book.find('ft:gpt-4o-mini:acme')?.table.rates.get('input')?.value.text).toBe('30');
  expect(book.find('gpt-4-32k')).toBeUndefined();
  expect(book.find('my-llama')?.free).toBe(true);
});

test('the example shows the defaults', () => {
  const { settings } = good(example, { OPENAI_API_KEY: 'k' });
  const { upstreams, ...shown } = settings;
  const { upstreams: demo, ...defaults } = good('').settings;
  expect(shown).toEqual(defaults);
  expect(upstreams.at(-1)).toEqual(demo[0]);
  expect(upstreams[0]?.timeouts).toEqual(demo[0]?.timeouts);
});

test('every setting appears in the example', () => {
  const { settings } = good(example, { OPENAI_API_KEY: 'k' });
  const words = new Set(example.split(/[^a-z0-9_]+/));
  const renamed = new Map([
    ['data_dir', 'data'],
    ['trial_credits', 'trial'],
    ['pattern', 'name'],
    ['builtin', 'demo'],
    ['sign_up', 'signup'],
    ['providers', 'oauth'],
  ]);
  const missing: string[] = [];
  let seen = 0;
  const visit = (value: object): void => {
    for (const [key, inner] of Object.entries(value)) {
      const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const word = renamed.get(snake) ?? snake.replace(/_ms$/, '');
      seen += 1;
      if (!/^\d+$/.test(key) && !words.has(word)) missing.push(word);
      if (typeof inner === 'object' && inner !== null && key !== 'headers' && key !== 'value') visit(inner);
    }
  };
  visit(settings);
  expect(missing).toEqual([]);
  expect(seen).toBeGreaterThan(40);
});
