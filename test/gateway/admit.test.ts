import { expect, test } from 'vitest';
import { admit } from '../../src/gateway/admit.js';
import type { Exchange, GatewayParts } from '../../src/gateway/exchange.js';
import { bookWith, ratio } from '../pricing/books.js';

const book = bookWith({
  models: [{ pattern: 'm', rule: { kind: 'rates', rates: { input: ratio('1') }, tiers: [], stepSeconds: 0 } }],
} as never);

test('nobody is admitted before the journal has the hold on the disk', async () => {
  const written: (() => void)[] = [];
  const said: string[] = [];
  const parts = {
    prices: () => book,
    upstreams: () => ({ pick: () => [{ upstream: { settings: { name: 'fake' } }, servedModel: 'm' }] }),
    settings: { admission: 'normal', leaseMs: 30_000 },
    store: { hold: async () => ({ kind: 'held', amount: 1, remaining: 1, repeated: false }) },
    tally: { held: () => undefined },
    journal: { held: () => said.push('held'), afterWrite: (act: () => void) => written.push(act) },
  } as unknown as GatewayParts;
  const exchange = {
    id: 'req_1',
    req: { headers: {} },
    endpoint: { path: '/embeddings' },
    asked: { model: 'm', choices: 1, maxOutput: 1, textBytes: 4, messages: 1, images: 0, audios: 0, files: 0, noOutput: true },
    caller: {
      orgId: 'org_1',
      tokenId: 'tok_1',
      digest: '',
      token: { models: null, ips: null, version: 1 },
      org: { group: 'default', prices: null },
    },
    who: null,
    trace: null,
  } as unknown as Exchange;
  const admitting = admit(parts, exchange).then(({ kind }) => said.push(kind));
  await new Promise((go) => setTimeout(go, 20));
  expect(said).toEqual(['held']);
  for (const act of written) act();
  await admitting;
  expect(said).toEqual(['held', 'admitted']);
});
