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

test('of several that come in one turn as many are read at once as one may be large, small ones always', async () => {
  await new Promise((go) => setImmediate(go));
  const isAtOnce = (bytes: number): boolean => !(parseBody('chat', bodyOf(bytes), 64) instanceof Promise);
  expect([100_000, 100_000, 100_000, 16_000, 62_000, 16_000].map(isAtOnce)).toEqual([true, true, false, true, true, true]);
  await new Promise((go) => setImmediate(go));
  expect(isAtOnce(256 * 1024)).toBe(true);
});

test('many large bodies at once are all read', async () => {
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => parseBody('embeddings', Buffer.from(`{"model":"m","input":[${'1,'.repeat(200_000)}1]}`), 64)),
  );
  expect(answers.every(({ kind }) => kind === 'asked')).toBe(true);
});
