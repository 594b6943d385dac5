import { expect, test } from 'vitest';
import { Said } from '../../proof/said.js';

test('what a server says is counted as it comes, however much it says and wherever the pieces are cut', () => {
  const said = new Said();
  const hear = said.listener();
  const other = said.listener();
  const filler = Buffer.from(`${'x'.repeat(99_999)}\n`);
  hear(Buffer.from('{"msg":"an error nobody exp'));
  other(Buffer.from('another stream says something\n'));
  hear(Buffer.from('ected","n":1}\n'));
  for (let i = 0; i < 40; i++) hear(filler);
  expect(said.tail().length).toBe(2_000_000);
  expect(said.tail()).not.toContain('nobody expected');
  for (let i = 0; i < 30; i++) hear(Buffer.from(`an error nobody expected ${i}\n`));
  expect(said.of('surprise')).toMatchObject({ count: 31 });
  expect(said.of('surprise').examples.length).toBe(20);
  expect(said.of('surprise').examples[0]).toBe('an error nobody expected","n":1}');
  expect(said.of('unsettled')).toEqual({ count: 0, examples: [] });
});
