import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createClient } from '../../src/client/client.js';
import { type Document, generate } from '../../src/client/generate.js';
import { OPERATOR_KEY, useApi } from '../api/harness.js';
import { ROOT } from '../support/source.js';

const api = useApi();

/** The few routes of this test, by hand; that the made ones are right is tested below. */
interface Some {
  'POST /api/v1/admin/orgs': { args: [input: { body: { name: string } }]; answer: { id: string } };
  'POST /api/v1/orgs/{org}/tokens': {
    args: [input: { params: { org: string }; body: { name: string }; idempotencyKey?: string }];
    answer: { id: string; secret: string };
  };
  'GET /api/v1/orgs/{org}/usage/monthly': {
    args: [input: { params: { org: string }; query?: { month?: string } }];
    answer: { month: string; totals: { requests: number } };
  };
  'GET /api/v1/orgs/{org}/logs': {
    args: [input: { params: { org: string }; query?: { status?: readonly string[]; limit?: number } }];
    answer: { data: readonly unknown[] };
  };
  'GET /api/v1/orgs/{org}/logs/export': { args: [input: { params: { org: string } }]; answer: ReadableStream<Uint8Array> | null };
}

const clientOf = (key: string, send = (url: string, init: RequestInit) => Promise.resolve(api.app.request(url, init))) =>
  createClient<Some>({ baseUrl: 'http://farebox.test/', key, fetch: send });

describe('the client', () => {
  test('makes an organization and a token, and reads what was used', async () => {
    const client = clientOf(OPERATOR_KEY);
    const org = await client.call('POST /api/v1/admin/orgs', { body: { name: 'Acme & sons' } });
    if (!org.ok) throw new Error(org.problem.detail);
    const params = { org: org.data.id };
    const token = await client.call('POST /api/v1/orgs/{org}/tokens', { params, body: { name: 'app' }, idempotencyKey: 'one' });
    expect(token.ok && token.data.secret).toMatch(/^sk-fb-/);
    const month = await client.call('GET /api/v1/orgs/{org}/usage/monthly', { params, query: { month: '2026-11' } });
    expect(month.ok && [month.data.month, month.data.totals.requests]).toEqual(['2026-11', 0]);
    const logs = await client.call('GET /api/v1/orgs/{org}/logs', { params, query: { status: ['complete', 'failed'], limit: 5 } });
    expect(logs.ok && logs.data.data).toEqual([]);
    const file = await client.call('GET /api/v1/orgs/{org}/logs/export', { params });
    expect(file.ok && (await new Response(file.data).text())).toContain('request id');
  });

  test('gives what the server refuses as a problem, and throws for what is not this server', async () => {
    const client = clientOf(OPERATOR_KEY);
    const wrong = await client.call('POST /api/v1/admin/orgs', { body: { name: '' } });
    expect(wrong).toMatchObject({ ok: false, status: 400, problem: { code: 'validation_failed', errors: [{ pointer: '/name' }] } });
    expect(await clientOf('mk-fb-nobody').call('POST /api/v1/admin/orgs', { body: { name: 'x' } })).toMatchObject({
      ok: false,
      status: 401,
    });
    const elsewhere = clientOf(OPERATOR_KEY, async () => new Response('<h1>Bad gateway</h1>', { status: 502 }));
    await expect(elsewhere.call('POST /api/v1/admin/orgs', { body: { name: 'x' } })).rejects.toThrow('502');
  });

  test('what stands in a path cannot leave it', async () => {
    const seen: string[] = [];
    const client = clientOf('mk-fb-x', async (url) => {
      seen.push(url);
      return Response.json({});
    });
    await client.call('GET /api/v1/orgs/{org}/usage/monthly', { params: { org: '../admin?x=#' } });
    expect(seen).toEqual(['http://farebox.test/api/v1/orgs/..%2Fadmin%3Fx%3D%23/usage/monthly']);
    await expect(client.call('GET /api/v1/orgs/{org}/usage/monthly', { params: { org: '' } })).rejects.toThrow('needs org');
  });
});

const RIGHT = `
import { createClient } from '../../src/client/client.js';
import type { Routes } from './routes.js';

export async function use() {
  const client = createClient<Routes>({ baseUrl: 'http://x', key: 'mk-fb-x' });
  const org = await client.call('POST /api/v1/admin/orgs', { body: { name: 'x' } });
  if (!org.ok) return org.problem.code;
  const params = { org: org.data.id };
  const token = await client.call('POST /api/v1/orgs/{org}/tokens', { params, body: { name: 'app', quota: '5' }, idempotencyKey: 'k' });
  const used: number | undefined = token.ok ? token.data.used.micro : undefined;
  const month = await client.call('GET /api/v1/orgs/{org}/usage/monthly', { params, query: { month: '2026-11' } });
  const spent: string = month.ok ? month.data.totals.charged.credits : '';
  await client.call('GET /api/v1/auth/session');
  return [used, spent];
}
`;

/** Each has one mistake. */
const WRONG = [
  "client.call('GET /api/v1/nowhere')",
  "client.call('GET /api/v1/orgs/{org}/usage/monthly')",
  "client.call('GET /api/v1/orgs/{org}/usage/monthly', { params: { organization: 'x' } })",
  "client.call('GET /api/v1/orgs/{org}/usage/monthly', { params: { org: 'x' }, query: { moonth: 'x' } })",
  "client.call('POST /api/v1/admin/orgs', { body: { name: 5 } })",
  "client.call('POST /api/v1/admin/orgs', { body: { name: 'x', colour: 'red' } })",
  "client.call('POST /api/v1/admin/orgs', { body: { name: 'x' } }).then((one) => one.ok && one.data.colour)",
];

test('types made from the document accept what is right, and name every mistake', async () => {
  const document = (await (await api.app.request('http://farebox.test/api/v1/openapi.json')).json()) as Document;
  const folder = mkdtempSync(join(tmpdir(), 'farebox-client-'));
  try {
    writeFileSync(join(folder, 'routes.d.ts'), generate(document));
    const place = (text: string) => text.replaceAll("'../../src/", `'${ROOT}/src/`);
    writeFileSync(join(folder, 'right.ts'), place(RIGHT));
    const head = "import { createClient } from '../../src/client/client.js';\nimport type { Routes } from './routes.js';\n";
    const client = "const client = createClient<Routes>({ baseUrl: '' });\n";
    writeFileSync(join(folder, 'wrong.ts'), `${place(head)}${client}${WRONG.map((line) => `void ${line};\n`).join('')}`);
    const options = [
      '--noEmit',
      '--ignoreConfig',
      '--strict',
      '--exactOptionalPropertyTypes',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--lib',
      'es2023,dom',
    ];
    const tsc = spawnSync(
      join(ROOT, 'node_modules', '.bin', 'tsc'),
      [...options, '--types', 'node', join(folder, 'right.ts'), join(folder, 'wrong.ts')],
      {
        cwd: ROOT,
        encoding: 'utf8',
      },
    );
    const lines = [...tsc.stdout.matchAll(/(right|wrong|routes\.d|client)\.ts\((\d+),/g)].map(([, name, line]) => `${name} ${line}`);
    expect([...new Set(lines)], tsc.stdout).toEqual(WRONG.map((_, i) => `wrong ${i + 4}`));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
