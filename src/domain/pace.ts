/** Questions that cost nothing, a minute: by the credential, and by the address for whoever has none that is known. */
export const FREE_PER_MINUTE = { credential: 1_200, address: 300 } as const;

/** What a credential may still ask at this moment. */
export interface Allowance {
  readonly ok: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until all of it is there again. */
  readonly fullInMs: number;
  /** Until one more request may be made; 0 when one may. */
  readonly waitMs: number;
}

export interface Rates {
  take(key: string, perMinute: number): Allowance;
}

interface Bucket {
  level: number;
  atMs: number;
}

/** Who was seen longest ago is forgotten first: at worst a full bucket comes back early. */
const KEPT = 20_000;
const MINUTE_MS = 60_000;

/** A bucket for each credential that fills evenly: a burst of a minute's worth is fine, and then the pace counts. */
export function createRates(nowMs: () => number, kept = KEPT): Rates {
  const buckets = new Map<string, Bucket>();
  return {
    take: (key, perMinute) => {
      const now = nowMs();
      const perMs = perMinute / MINUTE_MS;
      const seen = buckets.get(key) ?? { level: perMinute, atMs: now };
      const level = Math.min(perMinute, seen.level + Math.max(0, now - seen.atMs) * perMs);
      const ok = level >= 1;
      const left = ok ? level - 1 : level;
      buckets.delete(key);
      buckets.set(key, { level: left, atMs: now });
      if (buckets.size > kept) buckets.delete(buckets.keys().next().value ?? '');
      return {
        ok,
        limit: perMinute,
        remaining: Math.floor(left),
        fullInMs: (perMinute - left) / perMs,
        waitMs: ok ? 0 : (1 - level) / perMs,
      };
    },
  };
}
