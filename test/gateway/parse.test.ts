import { expect, test } from 'vitest';
import { parseBody } from '../../src/gateway/parse.js';
import { parseRequest, placesOf } from '../../src/gateway/request.js';

const bodyOf = (bytes: number): Buffer => {
  const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: '' }] });
  return Buffer.from(body.replace('""', `"${'x'.repeat(bytes - body.length)}"`));
};

test('a body of ordinary size is read at once', async () => {
  await new Promise((go) => setImmediate(go));
  const answer = parseBody('chat', bodyOf(256 * 1024), 64);
  expect(answer).not.toBeInstanceOf(Promise);
  expect(answer).toMatchObject({ kind: 'asked', asked: { model: 'm', textBytes: 256 * 1024 } });
});

test('a larger body is read in a thread, with the same result, while this one goes on', async () => {
  const body = bodyOf(256 * 1024 + 1);
  const answer = parseBody('chat', body, 64);
  expect(answer).toBeInstanceOf(Promise);
  expect(await answer).toEqual({ ...parseRequest('chat', body, 64), places: placesOf(body) });
});

test('a large body that is no JSON, or too deep, is refused from the thread as well', async () => {
  const broken = Buffer.concat([bodyOf(300_000), Buffer.from('}')]);
  expect(await parseBody('chat', broken, 64)).toMatchObject({ kind: 'bad', code: 'invalid_json' });
  const deep = Buffer.from(`{"model":"m","messages":[${'['.repeat(300_000)}`);
  expect(await parseBody('chat', deep, 64)).toMatchObject({ kind: 'bad', code: 'too_deep' });
});

const nextTurn = () => new Promise((go) => setImmediate(go));

test('of several that come in one turn as many are read at once as one may be large, small ones always, the others in the next ones', async () => {
  await nextTurn();
  const order: number[] = [];
  const sizes = [100_000, 100_001, 100_002, 16_000, 62_000, 250_000, 17_000];
  const answers = sizes.map((bytes) => parseBody('chat', bodyOf(bytes), 64));
  expect(answers.map((answer) => answer instanceof Promise)).toEqual([false, false, true, false, true, true, true]);
  answers.forEach((answer, i) => {
    if (answer instanceof Promise) void answer.then(() => order.push(i));
  });
  await nextTurn();
  expect(order).toEqual([2, 4]);
  const late = parseBody('chat', bodyOf(20_000), 64);
  expect(late).toBeInstanceOf(Promise);
  await nextTurn();
  expect(order).toEqual([2, 4, 5]);
  expect(await Promise.all([late, ...answers])).toHaveLength(8);
  expect(order).toEqual([2, 4, 5, 6]);
  await nextTurn();
  expect(parseBody('chat', bodyOf(256 * 1024), 64)).not.toBeInstanceOf(Promise);
});

test('a crowd of bodies that are just small enough is refused nothing', async () => {
  const answers = await Promise.all(Array.from({ length: 300 }, () => parseBody('chat', bodyOf(200_000), 64)));
  expect(answers.every(({ kind }) => kind === 'asked')).toBe(true);
});

test('many large bodies at once are all read', async () => {
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => parseBody('embeddings', Buffer.from(`{"model":"m","input":[${'1,'.repeat(200_000)}1]}`), 64)),
  );
  expect(answers.every(({ kind }) => kind === 'asked')).toBe(true);
});
