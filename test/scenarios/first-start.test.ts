import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import { eventually, expectCleanBooks, quiet, type Row } from './books.js';

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'farebox-first-'));
let farebox: Farebox;
let said: string;

beforeAll(async () => {
  farebox = await startFarebox({ embedded: true, data: folder });
  said = farebox.stdout();
});
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

const wordOf = (pattern: RegExp): string => pattern.exec(said)?.[1] ?? '';
const orgId = () => wordOf(/(org_\w{16})/);
const token = () => wordOf(/(sk-fb-\w+-\w+)/);
const curlIn = (text: string): string => /^curl (?:.*\\\n)*.*$/m.exec(text)?.[0] ?? '';

test('a first start has printed everything needed by the time it is ready', () => {
  expect(said).toContain(farebox.url);
  expect(orgId()).not.toBe('');
  expect(token()).not.toBe('');
  expect(said).toContain(join(folder, 'operator.key'));
  expect(said).toMatch(/100 trial credits/);
  expect(curlIn(said)).toMatch(/^curl http:\/\/127\.0\.0\.1:\d+\/v1\/chat\/completions \\\n/);
  expect(said + farebox.stderr()).not.toContain(farebox.operatorKey);
});

test('secrets lie in files that only their owner can read', () => {
  for (const name of ['operator.key', 'secret']) {
    if (!existsSync(join(folder, name))) continue;
    expect([name, statSync(join(folder, name)).mode & 0o077]).toEqual([name, 0]);
  }
  expect(statSync(folder).mode & 0o077).toBe(0);
  expect(farebox.operatorKey).toMatch(/^ok-fb-/);
});

test('the printed curl works exactly as it is pasted, and leaves a row with its exact charge', async () => {
  const { stdout } = await run('/bin/sh', ['-c', `${curlIn(said)} -s`]);
  const answer = JSON.parse(stdout) as {
    choices: { message: { content: string } }[];
    usage: { prompt_tokens: number; completion_tokens: number };
  };
  expect(answer.choices[0]?.message.content).toContain('Farebox');
  const [row] = await eventually('one row', async () => {
    const rows = (await farebox.logs(orgId())) as unknown as Row[];
    return rows.length > 0 ? rows : undefined;
  });
  const { prompt_tokens, completion_tokens } = answer.usage;
  const cost = Math.ceil(prompt_tokens * 15 + completion_tokens * 60); // ratio 0.075, output 4x
  expect(row).toMatchObject({ model: 'demo', status: 'complete', source: 'upstream', charged: { micro: cost } });
  expect((await quiet(farebox, orgId())).available).toBe(100_000_000 - cost);
});

test('a streamed request of the same token is charged too', async () => {
  const answer = await fetch(`${farebox.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo', stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
  });
  expect(await answer.text()).toMatch(/data: \[DONE\]\n\n$/);
  expect((await quiet(farebox, orgId())).available).toBeLessThan(100_000_000);
});

test('the command line finds the running server, and its books are clean', async () => {
  const farebox_ = async (...args: string[]) => {
    const env = { ...process.env, FAREBOX_URL: farebox.url, FAREBOX_DATA: folder };
    const { stdout } = await run(process.execPath, ['--import', 'tsx', join(ROOT, 'src/cli.ts'), ...args, '--json'], { cwd: ROOT, env });
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  expect(await farebox_('reconcile')).toMatchObject({ clean: true, findings: [] });
  const balance = await farebox_('balance', '--org', orgId());
  expect(balance).toMatchObject({ available: { micro: (await quiet(farebox, orgId())).available } });
});

test('a second server on the same folder is refused with a sentence', async () => {
  const second = await startFarebox({ embedded: true, data: folder, waitForReady: false });
  const code = await new Promise((resolve) => second.child.on('exit', resolve));
  expect(code).toBe(1);
  expect(second.stderr()).toMatch(/already|in use|another/i);
  expect(second.stderr()).toContain(folder);
  expect(second.stderr()).not.toMatch(/\n\s+at /);
  expect((await fetch(`${farebox.url}/readyz`)).status).toBe(200);
});

test('a second start on the same folder finds everything as it was', async () => {
  const before = await quiet(farebox, orgId());
  const key = farebox.operatorKey;
  expect(await farebox.stop()).toBe(0);
  farebox = await startFarebox({ embedded: true, data: folder });
  expect(farebox.operatorKey).toBe(key);
  expect(farebox.stdout()).not.toMatch(/sk-fb-/);
  expect(farebox.stdout()).toContain('1 organization');
  expect(await quiet(farebox, orgId())).toEqual(before);
  const answer = await fetch(`${farebox.url}/v1/models`, { headers: { authorization: `Bearer ${token()}` } });
  expect(answer.status).toBe(200);
  expect(readFileSync(join(folder, 'operator.key'), 'utf8').trim()).toBe(key);
});

test('after all of this the books are clean and nothing is held', async () => {
  await expectCleanBooks(farebox, [orgId()]);
});
