import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { eventually, expectCleanBooks } from './books.js';

const folder = mkdtempSync(join(tmpdir(), 'farebox-people-'));
const PASSWORD = 'a long enough password';
let farebox: Farebox;

beforeAll(async () => {
  farebox = await startFarebox({ embedded: true, data: folder });
});
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

/** As a browser on a page of the server would: with its cookie jar, and naming the page. */
function browser(server: Farebox) {
  const jar = new Map<string, string>();
  return async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${server.url}${path}`, {
      method,
      headers: {
        ...(method === 'GET' ? {} : { origin: server.url, 'content-type': 'application/json' }),
        ...(jar.size > 0 ? { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') } : {}),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      jar.set(name, value);
    }
    return { status: answer.status, cookies: answer.headers.getSetCookie(), body: (await answer.json()) as Record<string, unknown> };
  };
}

test('the first operator makes an account by the printed link, once, and owns what the first start made', async () => {
  const link = /(http:\/\/127\.0\.0\.1:\d+)\/setup#token=(\w{40})/.exec(farebox.stdout());
  expect(link?.[1]).toBe(farebox.url);
  const token = link?.[2];
  expect(readFileSync(join(folder, 'operator.setup'), 'utf8').trim()).toBe(token);
  expect(statSync(join(folder, 'operator.setup')).mode & 0o077).toBe(0);
  const send = browser(farebox);
  const input = { token, email: 'root@example.com', password: PASSWORD, name: 'Root' };
  expect((await send('POST', '/api/v1/auth/setup', { ...input, token: 'x'.repeat(40) })).status).toBe(410);
  expect((await send('POST', '/api/v1/auth/setup', input)).body).toEqual({ status: 'made' });
  expect((await send('POST', '/api/v1/auth/setup', { ...input, email: 'second@example.com' })).status).toBe(410);
  expect(existsSync(join(folder, 'operator.setup'))).toBe(false);

  const signedIn = await send('POST', '/api/v1/auth/sign-in', { email: 'root@example.com', password: PASSWORD });
  expect(signedIn.body).toEqual({ status: 'signed_in' });
  expect(signedIn.cookies).toEqual([
    expect.stringMatching(/^__Host-farebox_session=[^;]+; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax; Secure$/),
  ]);
  const me = await send('GET', '/api/v1/me');
  expect(me.body).toMatchObject({ operator_role: 'operator.admin', organizations: [{ name: 'My organization', role: { id: 'owner' } }] });
  expect((await send('GET', '/api/v1/admin/orgs')).status).toBe(200);
  expect((await send('GET', `/api/v1/orgs/${me.body['home_org_id']}/balance`)).body).toMatchObject({ available: { credits: '100' } });
});

test('somebody signs up, invites and spends; without a mail server the log says what would have been sent', async () => {
  const send = browser(farebox);
  const email = 'ada@example.com';
  const made = await send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD, organization_name: 'Engines' });
  expect(made.body).toEqual({ status: 'accepted', next: 'sign_in' });
  expect((await send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD })).body).toEqual({ status: 'signed_in' });
  const org = String((await send('GET', '/api/v1/me')).body['home_org_id']);
  expect((await send('GET', `/api/v1/orgs/${org}/balance`)).body).toMatchObject({ available: { credits: '100' } });

  const token = await fetch(`${farebox.url}/api/v1/orgs/${org}/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${farebox.operatorKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'first' }),
  }).then((answer) => answer.json() as Promise<{ secret: string }>);
  const asked = await fetch(`${farebox.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token.secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello' }] }),
  });
  expect(asked.status).toBe(200);
  await asked.arrayBuffer();

  await send('POST', '/api/v1/auth/password/forgot', { email });
  const line = await eventually('the mail in the log', async () =>
    farebox
      .stderr()
      .split('\n')
      .find((one) => one.includes('Set a new password')),
  );
  expect(JSON.parse(line)).toMatchObject({ to: email, text: expect.stringContaining(`${farebox.url}/reset-password#token=`) });
  await expectCleanBooks(farebox, [org]);
});

test('sessions outlive a restart, and the link is not printed again', async () => {
  const send = browser(farebox);
  await send('POST', '/api/v1/auth/sign-in', { email: 'ada@example.com', password: PASSWORD });
  farebox = await farebox.restart();
  expect(farebox.stdout()).not.toContain('/setup#token=');
  expect((await send('GET', '/api/v1/me')).body).toMatchObject({ email: 'ada@example.com' });
});

test('through gateways without a database people sign in just so, and their own address is what counts', async () => {
  const database: TestDatabase = await freshDatabase(inject('databaseUrl'));
  const redis: RedisServer = await startRedis();
  const server = await startFarebox({
    databaseUrl: database.url,
    redisUrl: redis.url,
    processes: 1,
    config: { signup: { trial_credits: 7 } },
  });
  try {
    const send = browser(server);
    const email = 'grace@example.com';
    expect((await send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD })).status).toBe(202);
    const signedIn = await send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD });
    expect(signedIn.cookies).toHaveLength(1);
    const org = String((await send('GET', '/api/v1/me')).body['home_org_id']);
    expect((await send('GET', `/api/v1/orgs/${org}/balance`)).body).toMatchObject({ available: { credits: '7' } });
    const listed = await send('GET', '/api/v1/auth/sessions');
    expect(listed.body['data']).toMatchObject([{ current: true, address: '127.0.0.1' }]);
    expect((await send('POST', '/api/v1/auth/sign-out')).body).toEqual({ status: 'signed_out' });
    expect((await send('GET', '/api/v1/me')).status).toBe(401);
  } finally {
    await server.stop();
    await Promise.all([database.drop(), redis.stop()]);
  }
});
