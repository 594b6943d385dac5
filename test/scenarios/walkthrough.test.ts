import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startFarebox } from '../support/server.js';
import { ROOT } from '../support/source.js';
import { expectCleanBooks } from './books.js';

async function walk(env: Record<string, string>) {
  const child = spawn('bash', [join(ROOT, 'examples/walkthrough.sh')], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes));
  const [code] = await once(child, 'close');
  return { code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
}

test('the walkthrough walks through, twice, on a server with meters', async () => {
  const farebox = await startFarebox({ config: 'meters: { kb_query: { label: Knowledge base query, per: query, price: 1 } }\n' });
  const env = { FAREBOX_URL: farebox.url, FAREBOX_DATA: farebox.data };
  const first = await walk(env);
  expect([first.code, first.out], first.err + first.out).toEqual([0, expect.stringContaining('everything agrees')]);
  expect(first.out).toContain('refused with token_quota_exceeded');
  expect(first.out).toMatch(/refused with monthly_limit_reached; see http:\/\/127\.0\.0\.1:\d+\/o\/org_\w+\/quota-exceeded/);
  expect(first.out).toContain('one kb_query: 1 credits');
  expect(first.out).toMatch(/available: 107\.5 credits/);
  expect(first.out).toMatch(/x-credits-charged: \d/);
  expect(first.out).toMatch(/granted: 107\.5, consumed: 0, remaining: 107\.5/);
  expect((await walk(env)).code).toBe(0);
  await expectCleanBooks(farebox, []);
});
