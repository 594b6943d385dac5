import { describe, expect, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import { newOrgId, newRequestId, newTokenId } from '../../src/domain/ids.js';
import { command, startRedis } from '../support/redis.js';
import { balanceOf, moveTo, orgTerms, subject, tokenTerms } from './builders.js';

const NOT_LOADED = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };

describe('the start-up check', () => {
  test('a server that may throw balances away is refused, with what to set', async () => {
    const lossy = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    const own = createRedisStore({ url: lossy.url });
    expect(await own.check()).toEqual({ ok: false, sentence: expect.stringMatching(/allkeys-lru.*Set maxmemory-policy to noeviction/) });
    await command(lossy.port, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(await own.check()).toEqual({ ok: true });
    await own.close();
    await lossy.stop();
  });

  test('requests of an earlier version are never lost: it must book them first, and then everything is loaded anew', async () => {
    const old = await startRedis();
    const own = createRedisStore({ url: old.url });
    const orgId = newOrgId(9);
    const tokenId = newTokenId(orgId);
    const life = `1763000000000000:${'a'.repeat(40)}:${'b'.repeat(40)}`;
    await command(old.port, 'SET', '{09}:epoch', `${life}:open`);
    await command(old.port, 'HSET', `{09}:org:${orgId}`, 'balance', '70|3|0|0', 'sums', '0|30', 'terms', '1|active|0|-|block_all|-');
    await command(old.port, 'HSET', `{09}:token:${tokenId}`, 'caps', '0;', 'sums', '0|30|0', 'terms', '1|active|0|0|0|0|0|-');
    for (const name of ['pend', 'holds']) {
      await command(old.port, 'HSET', `{09}:${name}:${orgId}`, newRequestId(), 'C|30|tok_x');
      expect(await own.check()).toEqual({
        ok: false,
        sentence: expect.stringMatching(/earlier version.*not booked yet.*Start that version/),
      });
      await command(old.port, 'DEL', `{09}:${name}:${orgId}`);
    }
    expect(await own.check()).toEqual({ ok: true });
    const org = subject(own, orgId, tokenId);
    expect(await org.hold(1)).toEqual(NOT_LOADED);
    await moveTo(own, '09', 'filling');
    const tokens = [{ terms: tokenTerms(tokenId, orgId), use: { tokenId, used: [] } }];
    await own.load('09', [{ terms: orgTerms(orgId), balance: balanceOf(40, { balanceVersion: 4 }), tokens }]);
    await moveTo(own, '09', 'open');
    expect(await org.hold(10)).toMatchObject({ kind: 'held', remaining: 30 });
    await own.close();
    await old.stop();
  });

  test('where CONFIG is forbidden the policy is read elsewhere', async () => {
    const strict = await startRedis({ args: ['--rename-command', 'CONFIG', '', '--maxmemory-policy', 'volatile-ttl'] });
    const own = createRedisStore({ url: strict.url });
    expect(await own.check()).toMatchObject({ ok: false, sentence: expect.stringContaining('volatile-ttl') });
    await own.close();
    await strict.stop();
  });

  test('nobody there, a password, a replica and a cluster by the wrong name are each told apart', async () => {
    const alone = await startRedis();
    const sentence = async (url: string): Promise<string> => {
      const own = createRedisStore({ url, commandTimeoutMs: 500 });
      const answer = await own.check();
      await own.close();
      return answer.ok ? 'ok' : answer.sentence;
    };
    expect(await sentence(alone.url)).toBe('ok');
    expect(await sentence(`redis-cluster://127.0.0.1:${alone.port}`)).toMatch(/cluster mode is on/);
    await command(alone.port, 'REPLICAOF', '127.0.0.1', '1');
    expect(await sentence(alone.url)).toMatch(/is a replica/);
    await command(alone.port, 'REPLICAOF', 'NO', 'ONE');
    await command(alone.port, 'CONFIG', 'SET', 'requirepass', 'secret');
    expect(await sentence(alone.url)).toMatch(/does not answer/);
    expect(await sentence(`redis://:secret@127.0.0.1:${alone.port}`)).toBe('ok');
    await alone.stop();
    expect(await sentence(alone.url)).toMatch(/does not answer/);
    const node = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    expect(await sentence(node.url)).toMatch(/redis-cluster:\/\//);
    await node.stop();
  });
});
