import type { Allowance } from '../domain/pace.js';

export function rateHeaders({ limit, remaining, fullInMs }: Allowance): Readonly<Record<string, string>> {
  return {
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(Math.ceil(fullInMs / 1000)),
  };
}
