import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { command, startRedis } from '../support/redis.js';
import { createSubject } from './builders.js';

/** Adding it must not leave a minus sign anywhere: Redis would store the text "-0". */
async function takesMinusZeroForNothing(store: CreditStore): Promise<void> {
  const org = await createSubject(store, { avail: 100 });
  const requestId = newRequestId();
  expect(await org.hold(-0, { requestId })).toMatchObject({ kind: 'held' });
  expect(await org.extend(requestId, -0)).toMatchObject({ kind: 'extended' });
  expect(await org.state()).toMatchObject({ spendable: 100, held: 0, pend: 0 });
  expect(await org.settle(requestId, -0)).toMatchObject({ kind: 'settled', repeated: false });
  const after = await org.state();
  expect([after.spendable, after.held, after.pend].map((amount) => Object.is(amount, -0))).toEqual([false, false, false]);
  expect(after).toMatchObject({ spendable: 100, held: 0, pend: 0 });
  expect(await org.hold(100)).toMatchObject({ kind: 'held' });
}

test('minus zero is nothing to the embedded store', () => takesMinusZeroForNothing(createEmbeddedStore()));

test('minus zero is nothing to Redis', async () => {
  const server = await startRedis();
  const store = createRedisStore({ url: server.url });
  await takesMinusZeroForNothing(store);
  await store.close();
  await server.stop();
});

test('a server that cannot save and therefore refuses writes: nobody is let in, nothing is half done, and it goes on by itself', async () => {
  const server = await startRedis({ args: ['--enable-protected-configs', 'yes'] });
  const store = createRedisStore({ url: server.url, commandTimeoutMs: 1_000 });
  const org = await createSubject(store, { avail: 100 });
  const requestId = newRequestId();
  await org.hold(30, { requestId });
  const gone = mkdtempSync(join(tmpdir(), 'farebox-gone-'));
  await command(server.port, 'CONFIG', 'SET', 'save', '3600 1');
  await command(server.port, 'CONFIG', 'SET', 'dir', gone);
  rmSync(gone, { recursive: true });
  await command(server.port, 'BGSAVE');
  await expect.poll(async () => String(await command(server.port, 'INFO', 'persistence'))).toContain('rdb_last_bgsave_status:err');
  expect(String(await command(server.port, 'SET', 'x', '1').catch((error: Error) => error.message))).toContain('MISCONF');
  const refused = { kind: 'unavailable', reason: 'unreachable', maybeDone: false };
  expect(await org.hold(1)).toEqual(refused);
  expect(await org.settle(requestId, 4)).toEqual(refused);
  expect(await org.state()).toMatchObject({ spendable: 70, held: 30, pend: 0 });
  await command(server.port, 'CONFIG', 'SET', 'save', '');
  await expect.poll(() => org.settle(requestId, 4)).toMatchObject({ kind: 'settled' });
  expect(await org.hold(96)).toMatchObject({ kind: 'held' });
  await store.close();
  await server.stop();
});
