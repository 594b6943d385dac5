import { expect, test } from 'vitest';
import { countUsage } from '../../src/gateway/count.js';

type Given = Parameters<typeof countUsage>;
const event = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n';

/** Whoever cannot count at all: its thread has died, say. */
const parts = {
  counter: { count: () => Promise.reject(new Error('no thread')) },
  metrics: { estimatedUsage: { inc: () => undefined } },
  log: { warn: () => undefined },
} as unknown as Given[0];

const outcome = (stream: boolean, delivered: readonly Buffer[]): Given[2] =>
  ({ stream, delivered, uncountedEvents: 0, whole: true, candidate: undefined }) as unknown as Given[2];
const exchange = {
  id: 'req',
  endpoint: { kind: 'chat' },
  asked: { model: 'm', textBytes: 41 },
  bytes: Buffer.alloc(0),
} as unknown as Given[1];

test('when counting fails, a stream has as many tokens as events, however they were kept', async () => {
  for (const delivered of [[event.repeat(3)], [event, event, event], [event.repeat(2), event]]) {
    const pieces = delivered.map((text) => Buffer.from(text));
    const { usage, flags } = await countUsage(parts, exchange, outcome(true, pieces), { kind: 'none' });
    expect([usage.input, usage.output]).toEqual([11, 3]);
    expect(flags).toContain('counting_failed');
  }
});

test('when counting fails, a plain answer has a token for each four bytes', async () => {
  const { usage } = await countUsage(parts, exchange, outcome(false, [Buffer.from('x'.repeat(41))]), { kind: 'none' });
  expect([usage.input, usage.output]).toEqual([11, 11]);
});
