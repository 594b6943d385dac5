import { type ChildProcess, fork } from 'node:child_process';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { OrgId } from '../../src/domain/ids.js';

/** Looks at one wallet as fast as it can, from a process of its own. */
export interface Sampler {
  stop(): Promise<Sampled>;
}

export interface Sampled {
  readonly samples: number;
  readonly perSecond: number;
  /** The least that could be spent at any moment, in µcr. */
  readonly lowest: number;
  /** The most that was set aside or charged and not yet booked, in µcr. */
  readonly mostHeld: number;
  /** Looks the store had no answer for. */
  readonly unanswered: number;
}

type Order = { readonly url: string; readonly orgId: string } | 'stop';

export function startSampler(url: string, orgId: string): Sampler {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['sample'], { execArgv: ['--import', 'tsx'] });
  child.send({ url, orgId } satisfies Order);
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        child.once('message', (news: Sampled) => {
          resolve(news);
          child.kill();
        });
        child.once('exit', () => reject(new Error('the sampler ended')));
        child.send('stop' satisfies Order);
      }),
  };
}

async function sample(url: string, orgId: OrgId): Promise<void> {
  const store = createRedisStore({ url });
  const seen = { samples: 0, lowest: Number.MAX_SAFE_INTEGER, mostHeld: 0, unanswered: 0 };
  const started = performance.now();
  process.on('message', (order: Order) => {
    if (order !== 'stop') return;
    const seconds = (performance.now() - started) / 1_000;
    process.send?.({ ...seen, perSecond: Math.round(seen.samples / seconds) } satisfies Sampled);
  });
  const look = async (): Promise<void> => {
    for (;;) {
      const state = await store.inspect(orgId).catch(() => undefined);
      if (state === undefined || 'kind' in state) {
        seen.unanswered += 1;
        await new Promise((go) => setTimeout(go, 5));
        continue;
      }
      seen.samples += 1;
      seen.lowest = Math.min(seen.lowest, state.spendable);
      seen.mostHeld = Math.max(seen.mostHeld, state.held + state.pend);
    }
  };
  await Promise.all(Array.from({ length: 4 }, look));
}

if (process.argv[2] === 'sample' && process.send) {
  process.once('message', (order: Order) => void (order === 'stop' ? process.exit(0) : sample(order.url, order.orgId as OrgId)));
  // Whoever asked is gone, perhaps without a word.
  process.once('disconnect', () => process.exit(0));
}
