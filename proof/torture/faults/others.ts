import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { call } from '../../../test/support/sse.js';
import { CRASH, type Fault, kill, NOTHING_ALLOWED, REFUSALS, sleep } from '../fault.js';
import { bodyOf, pathOf, planOf } from '../plans.js';

export const otherFaults: readonly Fault[] = [
  { id: 'F52', name: 'clients only: aborts, half-closes, slow readers', allowed: NOTHING_ALLOWED, inflict: () => sleep(4_000) },
  {
    id: 'F34',
    name: 'the disk of the journals is full for 4 s',
    allowed: REFUSALS,
    unavailable: ({ journalDisk }) => (journalDisk ? null : 'mounting a small file system is not permitted here'),
    inflict: async ({ journalDisk }) => {
      const file = join(String(journalDisk), 'filler');
      fill(file);
      await sleep(4_000);
      rmSync(file, { force: true });
      await sleep(1_500);
    },
  },
  {
    id: 'F54',
    name: 'all upstreams refuse connections for 3 s',
    allowed: { crash: false, refusals: false, upstream: true },
    inflict: async ({ upstreamProxy, upstream }) => {
      upstreamProxy.retarget(1);
      upstreamProxy.cutAll();
      await sleep(3_000);
      upstreamProxy.retarget(upstream.port);
    },
  },
  {
    id: 'F66',
    name: 'a token revoked while its stream runs',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ product, customer, random }) => {
      const made = await product.api('POST', `/api/v1/orgs/${customer.orgId}/tokens`, { name: 'to be revoked' });
      const plan = planOf('stream', random);
      const options = { method: 'POST', token: String(made.body['secret']), headers: { 'Content-Type': 'application/json' } };
      const running = call(`${product.url}${pathOf(plan)}`, { ...options, body: bodyOf(plan, 'revoked-1') });
      await running.next();
      const revoked = await product.api('DELETE', `/api/v1/orgs/${customer.orgId}/tokens/${String(made.body['id'])}`);
      if (revoked.status >= 300) throw new Error(`revoking: ${revoked.status} ${JSON.stringify(revoked.body)}`);
      for (let i = 0; i < 6; i++) {
        const next = await call(`${product.url}${pathOf(plan)}`, { ...options, body: bodyOf(plan, `revoked-${i + 2}`) }).end();
        if (next.status !== 401) throw new Error(`a revoked token got ${next.status}`);
      }
      if (!(await running.end()).done) throw new Error('the stream of a revoked token did not finish');
    },
  },
  {
    id: 'F67',
    name: 'FLUSHALL while Postgres is stopped (two at once: refused, nothing lost)',
    allowed: REFUSALS,
    inflict: async ({ postgres, command }) => {
      await postgres.stop();
      await sleep(1_000);
      await command('FLUSHALL');
      await sleep(5_000);
      await postgres.start();
    },
  },
  {
    id: 'F67',
    name: 'a gateway killed and FLUSHALL at once',
    allowed: CRASH,
    inflict: async (world) => {
      kill(world, world.random.pick(world.product.parts().gateways));
      await world.command('FLUSHALL');
    },
  },
];

function fill(file: string): void {
  const fd = openSync(file, 'w');
  const bytes = Buffer.alloc(64 * 1024);
  try {
    for (let size = bytes.length; size >= 1; ) {
      try {
        writeSync(fd, bytes, 0, size);
      } catch {
        size = size === 1 ? 0 : Math.max(1, Math.floor(size / 16));
      }
    }
  } finally {
    closeSync(fd);
  }
}
