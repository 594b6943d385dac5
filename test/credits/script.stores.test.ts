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
  const hold = async (amount: number, requestId: string = newRequestId(), who = 'org'): Promise<unknown> => {
    const { epoch } = await stateOf(store, org.shard);
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`, `requests:${org.orgId}`, `token:${org.tokenId}`].map(key);
    const head = Buffer.alloc(76, '-');
    head.writeDoubleLE(1, 68);
    for (const [i, number] of [20_000, 1].entries()) head.writeDoubleLE(number, 8 * i);
    head.write(requestId.padEnd(36).slice(0, 36), 16);
    const version = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
    const asks = who === 'org' ? Buffer.concat([Buffer.from(`${org.orgId}${DIGEST}`), version]) : Buffer.from(who);
    const facts = Buffer.alloc(35, 'H');
    facts.writeDoubleLE(amount, 1);
    facts.writeDoubleLE(0, 9);
    facts.write(org.tokenId, 17);
    const { source } = spendScript();
    const places = Buffer.from([1, 1, 1, 72, 0, 1, 1, 0]);
    const given = Buffer.concat([facts, Buffer.from('note')]);
    const answer = (await raw.callBuffer(
      'EVAL',
      source,
      keys.length,
      ...keys,
      places,
      epoch,
      Buffer.concat([head, asks]),
      given,
    )) as Buffer;
    return answer.length === 8 ? answer.readDoubleLE(0) : answer.toString('utf8', 8).split('\u001f');
  };

  test('an amount is whole, not negative, and has at most fifteen digits', async () => {
    for (const amount of [-1, 1.5, 5e-324, 1e15, 2 ** 53, 1e300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]) {
      expect(await hold(amount), String(amount)).toMatchObject(['error', expect.stringMatching(/BROKEN/)]);
    }
    expect((await org.state()).held).toBe(0);
    expect(await hold(5)).toEqual(['first', '995', expect.stringMatching(/^\d{16}$/)]);
    expect(await hold(999_999_999_999_999)).toEqual(['short', 'balance', '999999999999999', '995', '5', '0']);
  });

  test('in the arguments of the other verbs only digits are a number', async () => {
    const { epoch } = await stateOf(store, org.shard);
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`, `requests:${org.orgId}`, 'told'].map(key);
    const applied = (avail: string) =>
      raw.eval(batchScript().source, keys.length, ...keys, '1', epoch, `applied|0|3|2|${avail}|9|0|0`, '', '');
    const hostile = ['nan', '-nan', 'inf', '-inf', ' 5 ', '5 ', '0x10', '1e3', '1.5', '-0', '+5', '', '5\n', '٥', '9007199254740992'];
    for (const avail of hostile) {
      expect(await applied(avail), JSON.stringify(avail)).toMatchObject([['error', expect.stringMatching(/BROKEN|field/)]]);
    }
    expect((await org.state()).balance).toMatchObject({ avail: 1_000, balanceVersion: 1 });
    expect(await applied('-7')).toEqual([['applied', '0']]);
  });

  test('whatever stands in the place of an id, it names one request of its own organization and nothing else', async () => {
    const odd = ['', 'x', 'req_*', 'req_a:b', 'req_{08}', 'req_a\nb', 'balance', 'sums', `req_${':'.repeat(32)}`, '\0'.repeat(36)];
    const others = async () =>
      Promise.all(['org', 'token'].map((name) => raw.hkeys(key(`${name}:${name === 'org' ? org.orgId : org.tokenId}`))));
    const [before, keys] = [await others(), (await raw.keys('*')).length];
    for (const id of odd) expect(await hold(1, id), JSON.stringify(id)).toHaveLength(3);
    expect(await others()).toEqual(before);
    expect((await raw.keys('*')).length).toBeLessThanOrEqual(keys + 2);
    expect(new Set(await raw.hkeys(key(`requests:${org.orgId}`)))).toEqual(new Set(odd.map((id) => id.padEnd(36))));
    expect((await org.state()).held).toBe(odd.length);
  });

  test('whoever asks with anything but the secret is unknown', async () => {
    for (const who of ['', 'x', `${org.orgId}${DIGEST}`, `${org.orgId}${'-'.repeat(72)}`])
      expect(await hold(5, newRequestId(), who)).not.toContain('995');
    expect(await hold(5, newRequestId(), `${org.orgId}${'b'.repeat(72)}`)).toEqual(['unknown_token']);
    expect((await org.state()).held).toBe(0);
  });

  test('another epoch is another life: nothing is read and nothing is written', async () => {
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`].map(key);
    for (const epoch of ['', '1', ':open', 'x'.repeat(100)]) {
      expect(await raw.eval(batchScript().source, 4, ...keys, '1', epoch, 'lookup|0|1|0|')).toEqual([['epoch']]);
    }
  });

  test('numbers leave whole, however large', async () => {
    await org.applied({ avail: 9_007_199_254_740_991 as never, balanceVersion: 2 });
    expect(await hold(999_999_999_999_999)).toEqual(['first', '8007199254740992', expect.any(String)]);
    const sums = await raw.hgetBuffer(key(`org:${org.orgId}`), 'sums');
    expect([sums?.readBigInt64LE(0), sums?.readBigInt64LE(8)]).toEqual([999_999_999_999_999n, 0n]);
  });
});
