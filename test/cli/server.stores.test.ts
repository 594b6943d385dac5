import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { apiListener } from '../../src/api/app.js';
import { storePriceVersion } from '../../src/ledger/priceVersions.js';
import { OPERATOR_KEY, useApi } from '../api/harness.js';
import { freshDatabase } from '../support/postgres.js';
import { ROOT } from '../support/source.js';

const api = useApi();
let server: Server;
let data = '';
let env: Record<string, string> = {};

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'farebox-cli-'));
  writeFileSync(join(data, 'operator.key'), `${OPERATOR_KEY}\n`);
  server = createServer(apiListener(api.app)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  env = { FAREBOX_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, FAREBOX_DATA: data };
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(data, { recursive: true, force: true });
});

async function farebox(args: readonly string[], more: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src/cli.ts'), ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', ...env, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes));
  const [code] = await once(child, 'close');
  return { code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
}

const json = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { code, out, err } = await farebox([...args, '--json']);
  expect([code, err]).toEqual([0, '']);
  return JSON.parse(out) as Record<string, unknown>;
};

describe('a customer, from the command line', () => {
  test('organization, credits, token, balance and logs, as JSON and as text', async () => {
    const org = String((await json('org', 'create', 'Acme & Söhne'))['id']);
    expect(await json('grant', '--org', org, '--credits', '12.5', '--reason', 'first')).toMatchObject({ amount: { credits: '12.5' } });
    expect(await json('grant', '--org', org, '--credits', '2', '--reason', 'gift', '--category', 'promo')).toMatchObject({
      category: 'promo',
    });
    expect((await farebox(['deduct', '--org', org, '--credits', '2', '--reason', 'back'])).out).toBe(
      'Took back 2 credits; available now: 12.5.\n',
    );
    const token = await json('token', 'create', '--org', org, '--name', 'app', '--quota', '5');
    expect(token).toMatchObject({ secret: expect.stringMatching(/^sk-fb-/), quota: { amount: { credits: '5' } } });
    const balance = await farebox(['balance', '--org', org]);
    expect(balance.out).toMatch(/^available +12\.5 +0\.125 USD$/m);
    const revoked = await farebox(['token', 'revoke', String(token['id']), '--org', org]);
    expect(revoked.out).toBe(`${token['id']} is revoked.\n`);
    expect((await farebox(['logs', '--org', org])).out).toBe('No settled requests yet.\n');
    expect((await farebox(['token', 'list', '--org', org])).out).toContain('revoked');
  });

  test('redemption codes are printed one a line, and work', async () => {
    const org = String((await json('org', 'create', 'Codes'))['id']);
    const made = await farebox(['codes', 'create', '--credits', '3', '--count', '2', '--expires', '2999-12-31T23:59:59Z']);
    expect([made.code, made.err]).toEqual([0, '']);
    const codes = made.out.trimEnd().split('\n');
    expect(codes).toHaveLength(2);
    for (const code of codes) expect((await api.call('POST', `/api/v1/orgs/${org}/redemptions`, { code })).status).toBe(200);
    expect((await farebox(['balance', '--org', org])).out).toMatch(/^available +6 /m);
    const id = String(((await json('codes', 'list'))['data'] as { id: string }[])[0]?.id);
    expect((await farebox(['codes', 'disable', id])).out).toContain('2 of 2 codes were used');
    expect((await farebox(['codes', 'create', '--credits', '3', '--count', 'many'])).code).toBe(2);
  });

  test('what the server refuses is said field by field, without a stack', async () => {
    const org = await api.org();
    const wrong = await farebox(['grant', '--org', org, '--credits', '-5', '--reason', 'x']);
    expect([wrong.code, wrong.out]).toEqual([1, '']);
    expect(wrong.err).toContain('/credits: Write an amount of credits');
    expect(wrong.err).not.toMatch(/\bat .*:\d+:\d+/);
    const nobody = await farebox(['balance', '--org', '../../admin/orgs']);
    expect([nobody.code, nobody.err]).toEqual([1, expect.stringContaining('with this id')]);
    const stranger = await farebox(['balance', '--org', org], { FAREBOX_OPERATOR_KEY: 'ok-fb-wrongwrongwrongwrongwrongwrong' });
    expect(stranger.err).toContain('not known here');
  });

  test('reconcile compares the real books and exits 0 when they agree', async () => {
    const { code, out, err } = await farebox(['reconcile', '--json']);
    expect(JSON.parse(out || '{}'), err).toMatchObject({ clean: true, findings: [] });
    expect(code).toBe(0);
  });
});

test('reconcile asks the running server, whatever variables the configuration names that are not set here', async () => {
  const config = join(data, 'elsewhere.yaml');
  writeFileSync(config, 'upstreams: { a: { base_url: "https://example.com/v1", api_key: "${SET_ON_THE_SERVER_ONLY}", models: ["x"] } }\n');
  const asked = await farebox(['reconcile', '--json'], { FAREBOX_CONFIG: config });
  expect([asked.code, asked.err]).toEqual([0, '']);
  const alone = await farebox(['reconcile'], { FAREBOX_CONFIG: config, FAREBOX_URL: 'http://127.0.0.1:9' });
  expect([alone.code, alone.err]).toEqual([1, expect.stringContaining('SET_ON_THE_SERVER_ONLY')]);
});

test('prices check says what a file would change on the running server, and when nobody could be asked', async () => {
  const running = api.deps.prices();
  await storePriceVersion(api.db, running);
  const file = join(data, 'prices.yaml');
  const models = 'models: { new-model: { ratio: 1, output: 4x, cached: 0.5x } }';
  writeFileSync(file, `credits: { value: 0.01 USD, base: 200 }\ndefault_prices: false\ngroups: { vip: 0.8 }\n${models}\n`);
  const said = await farebox(['prices', 'check', file]);
  expect([said.code, said.err]).toEqual([0, '']);
  expect(said.out).toContain(`Compared with the version in force, ${running.version}:`);
  expect(said.out).toMatch(/^new-model +added +- +1 +- +0\.92$/m);
  expect(said.out).not.toMatch(/^demo +(added|removed|changed)/m);
  expect(await json('prices', 'check', file)).toMatchObject({
    in_force: running.version,
    changes: [{ model: 'new-model', kind: 'added', before: null, after: { typical: 1_000_000 } }],
    not_compared: null,
  });
  const alone = await farebox(['prices', 'check', file], { FAREBOX_URL: 'http://127.0.0.1:9' });
  expect([alone.code, alone.err]).toEqual([0, '']);
  expect(alone.out).toContain('Not compared with the prices in force. No Farebox answers at http://127.0.0.1:9.');
});

test('migrate and reconcile work on a database without any server', async () => {
  const database = await freshDatabase(inject('databaseUrl'));
  const alone = { FAREBOX_URL: 'http://127.0.0.1:9', DATABASE_URL: database.url };
  expect(JSON.parse((await farebox(['migrate', '--json'], alone)).out)).toEqual({ applied: [] });
  const books = await farebox(['reconcile', '--json'], alone);
  expect([books.code, JSON.parse(books.out || '{}')], books.err).toEqual([0, expect.objectContaining({ clean: true, findings: [] })]);
  await database.drop();
});
