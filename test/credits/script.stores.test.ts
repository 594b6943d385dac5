import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { batchScript, spendScript } from '../../src/credits/redis/scripts.js';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { createSubject, DIGEST, type Subject, stateOf } from './builders.js';

let server: RedisServer;
let store: CreditStore;
let org: Subject;

beforeAll(async () => {
  server = await startRedis();
  store = createRedisStore({ url: server.url });
});

beforeEach(async () => {
  org = await createSubject(store, { avail: 1_000 });
});

afterAll(async () => {
  await store.close();
  await server.stop();
});

const key = (name: string): string => `{${org.shard}}:${name}`;

describe('the script itself, whoever calls it', () => {
  let raw: Redis;
  beforeAll(() => {
    raw = new Redis(server.url);
  });
  afterAll(() => raw.disconnect());

  /** A hold as it is sent, with anything in the place of its numbers and its id. */
  const hold = async (amount: number | bigint, requestId: string = newRequestId(), who = 'org'): Promise<unknown> => {
    const { epoch } = await stateOf(store, org.shard);
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`, `requests:${org.orgId}`, `token:${org.tokenId}`].map(key);
    const head = Buffer.alloc(69);
    head.write('H', 0);
    for (const [i, place] of [0, 4, 6, 0].entries()) head.writeUInt16LE(place, 1 + 2 * i);
    head.write(requestId.padEnd(36).slice(0, 36), 9);
    for (const [i, number] of [1, 20_000, 1].entries()) head.writeBigInt64LE(BigInt(number), 45 + 8 * i);
    const version = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
    const asks = who === 'org' ? Buffer.concat([Buffer.from(`${org.orgId}${DIGEST}`), version]) : Buffer.from(who);
    const facts = Buffer.alloc(35, 'H');
    facts.writeBigInt64LE(BigInt(amount), 1);
    facts.writeBigInt64LE(0n, 9);
    facts.write(org.tokenId, 17);
    const { source } = spendScript();
    const answer = await raw.eval(
      source,
      keys.length,
      ...keys,
      '1',
      epoch,
      Buffer.concat([head, asks]),
      Buffer.concat([facts, Buffer.from('note')]),
    );
    return String(answer).split('\u001f');
  };

  test('an amount is whole, not negative, and has at most fifteen digits', async () => {
    for (const amount of [-1, -5n, 1_000_000_000_000_000, 2n ** 53n, 2n ** 62n, -(2n ** 63n)]) {
      expect(await hold(amount), String(amount)).toMatchObject(['error', expect.stringMatching(/BROKEN/)]);
    }
    expect((await org.state()).held).toBe(0);
    expect(await hold(5)).toEqual(['995']);
    expect(await hold(999_999_999_999_999)).toEqual(['short', 'balance', '999999999999999', '995', '5', '0']);
  });

  test('in the arguments of the other verbs only digits are a number', async () => {
    const { epoch } = await stateOf(store, org.shard);
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`, `requests:${org.orgId}`].map(key);
    const applied = (avail: string) =>
      raw.eval(batchScript().source, keys.length, ...keys, '1', epoch, `applied|0|2|2|${avail}|9|0|0`, '', '');
    const hostile = ['nan', '-nan', 'inf', '-inf', ' 5 ', '5 ', '0x10', '1e3', '1.5', '-0', '+5', '', '5\n', '٥', '9007199254740992'];
    for (const avail of hostile) {
      expect(await applied(avail), JSON.stringify(avail)).toMatchObject([['error', expect.stringMatching(/BROKEN|field/)]]);
    }
    expect((await org.state()).balance).toMatchObject({ avail: 1_000, balanceVersion: 1 });
    expect(await applied('-7')).toEqual([['applied', '0']]);
  });

  test('an id cannot name another key or another field', async () => {
    const odd = [
      '',
      'x',
      'req_*',
      'req_a:b',
      'req_{08}',
      'req_a\nb',
      `req_${'|'.repeat(32)}`,
      `req_${':'.repeat(32)}`,
      `req_${'g'.repeat(32)}`,
    ];
    for (const id of odd) {
      expect(await hold(5, id), JSON.stringify(id)).toMatchObject(['error', expect.stringMatching(/BROKEN/)]);
    }
    expect((await org.state()).held).toBe(0);
  });

  test('whoever asks with anything but the secret is unknown', async () => {
    for (const who of ['', 'x', `${org.orgId}${DIGEST}`, `${org.orgId}${'-'.repeat(72)}`])
      expect(await hold(5, newRequestId(), who)).not.toEqual(['995']);
    expect((await org.state()).held).toBe(0);
  });

  test('another epoch is another life: nothing is read and nothing is written', async () => {
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`].map(key);
    for (const epoch of ['', '1', ':open', 'x'.repeat(100)]) {
      expect(await raw.eval(batchScript().source, 4, ...keys, '1', epoch, 'lookup|0|1|0|')).toEqual([['epoch']]);
    }
  });

  test('numbers leave whole and as text, however large', async () => {
    await org.applied({ avail: 9_007_199_254_740_991 as never, balanceVersion: 2 });
    expect(await hold(999_999_999_999_999)).toEqual(['8007199254740992']);
    const sums = await raw.hgetBuffer(key(`org:${org.orgId}`), 'sums');
    expect([sums?.readBigInt64LE(0), sums?.readBigInt64LE(8)]).toEqual([999_999_999_999_999n, 0n]);
  });
});
