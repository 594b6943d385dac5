import type { UpstreamSettings } from '../domain/settings.js';
import type { Pulses } from '../telemetry/pulse.js';

/** What the management side may know of the server itself. Nothing in here is a secret. */
export interface ServerPort {
  /** Of every process of this machine. */
  pulses(): Promise<Pulses>;
  /** In force, in the order of the file. */
  upstreams(): readonly UpstreamFacts[];
  config(): ConfigState;
  hotStore(): Promise<HotLook | null>;
  /** The same numbers as in `/metrics`. */
  drain(): Promise<{ readonly lagSeconds: number; readonly waiting: number }>;
  /** Open streams of live events. */
  listeners(): number;
  readonly roles: readonly string[];
}

/** An upstream without its key, and without what its headers say. */
export interface UpstreamFacts extends Omit<UpstreamSettings, 'apiKey' | 'headers'> {
  readonly hasKey: boolean;
  readonly headerNames: readonly string[];
}

export interface ConfigState {
  /** False: there is no file, and everything is as it comes. */
  readonly fromFile: boolean;
  readonly loadedAtMs: number;
  readonly priceVersion: string;
  /** The file on disk cannot be used; what was good last is in force. Null once it is good again. */
  readonly bad: { readonly atMs: number; readonly words: string } | null;
}

/** One look at all shards of the hot store. */
export interface HotLook {
  readonly ms: number;
  readonly shards: readonly { readonly shard: string; readonly state: 'open' | 'filling' | 'absent' }[];
}
