import type { RecentUpstream } from './recent.js';

/** How one process of this server is, as it says itself when it is asked. */
export interface Pulse {
  readonly part: 'gateway' | 'office' | 'whole';
  /** Which of the gateway processes it is. */
  readonly slot: number;
  readonly pid: number;
  readonly version: string;
  readonly startedAtMs: number;
  /** Null where no requests are served. */
  readonly front: FrontPulse | null;
}

export interface FrontPulse {
  /** As `/readyz` of this process says. */
  readonly ready: boolean;
  readonly detail: Readonly<Record<string, string>>;
  readonly openRequests: number;
  readonly priceVersion: string;
  readonly journal: { readonly writable: boolean; readonly bytes: number; readonly unconfirmed: number };
  readonly upstreams: readonly (RecentUpstream & { readonly inFlight: number })[];
}

/** Of all processes of this machine that answered in time; `silent` others did not. */
export interface Pulses {
  readonly pulses: readonly Pulse[];
  readonly silent: number;
}
