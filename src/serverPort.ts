import type { ConfigState, HotLook, ServerPort, UpstreamFacts } from './api/server.js';
import type { CreditStore } from './credits/store.js';
import type { Settings, UpstreamSettings } from './domain/settings.js';
import type { PriceBook } from './pricing/book.js';
import type { Metrics } from './telemetry/metrics.js';
import type { Pulses } from './telemetry/pulse.js';

/** What of the configuration is in force, and how the file on disk was read last. */
export interface InForce {
  book: PriceBook;
  upstreams: readonly UpstreamSettings[];
  config: Omit<ConfigState, 'priceVersion'>;
}

interface Parts {
  readonly settings: Settings;
  readonly store: CreditStore;
  readonly metrics: Metrics;
  readonly inForce: InForce;
  readonly pulses: () => Promise<Pulses>;
  readonly listeners: () => number;
}

export const createServerPort = ({ settings, store, metrics, inForce, pulses, listeners }: Parts): ServerPort => ({
  pulses,
  upstreams: () => inForce.upstreams.map(factsOf),
  config: () => ({ ...inForce.config, priceVersion: inForce.book.version }),
  hotStore: () => look(store),
  drain: async () => {
    const [lag, waiting] = await Promise.all([metrics.drainLag.get(), metrics.drainWaiting.get()]);
    return { lagSeconds: lag.values[0]?.value ?? 0, waiting: waiting.values[0]?.value ?? 0 };
  },
  listeners,
  roles: settings.roles,
});

function factsOf({ apiKey, headers, ...upstream }: UpstreamSettings): UpstreamFacts {
  return { ...upstream, hasKey: apiKey !== null, headerNames: Object.keys(headers) };
}

const LOOK_MS = 2_000;

async function look(store: CreditStore): Promise<HotLook | null> {
  const started = performance.now();
  let late: NodeJS.Timeout | undefined;
  try {
    const states = await Promise.race([
      store.shards(),
      new Promise<never>((_, reject) => {
        late = setTimeout(() => reject(new Error('no answer')), LOOK_MS);
      }),
    ]);
    const ms = Math.round((performance.now() - started) * 10) / 10;
    return { ms, shards: states.map(({ shard, state }) => ({ shard, state })) };
  } catch {
    return null;
  } finally {
    clearTimeout(late);
  }
}
