import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Pool } from 'undici';
import type { UpstreamSettings } from '../domain/settings.js';
import { type Candidate, createPicker } from './pick.js';

/** An upstream with its connections. `inFlight` is kept by whoever forwards, and outlives a reload: it is counted by name. */
export interface Upstream {
  readonly settings: UpstreamSettings;
  /** Null for the built-in demo, which is answered in this process. */
  readonly pool: Pool | null;
  /** Path in front of `/chat/completions`, for example `/v1`. */
  readonly basePath: string;
  /** Headers that go with every request, as the flat list undici sends without copying. */
  readonly headers: readonly string[];
  inFlight: number;
  readonly load: Load;
}

/** What an upstream has to do, whichever settings it was asked with. */
interface Load {
  inFlight: number;
}

export interface Upstreams {
  readonly all: readonly Upstream[];
  pick(model: string): readonly Candidate<Upstream>[];
  /** After a reload: what the next ones have not taken over is closed, once whoever was admitted with it has been sent. */
  leaveTo(next: Upstreams): void;
  destroy(): Promise<void>;
}

const LEAVE_MS = 60_000;

/** `before`: the ones in force until now. An upstream that stays as it is keeps its connections. */
export function createUpstreams(settings: readonly UpstreamSettings[], before?: Upstreams): Upstreams {
  const all = settings.map((one) => {
    const known = before?.all.find((upstream) => upstream.settings.name === one.name);
    if (known && JSON.stringify(known.settings) === JSON.stringify(one)) return known;
    return open(one, known?.load ?? { inFlight: 0 });
  });
  return {
    all,
    pick: createPicker(all),
    leaveTo: (next) => {
      const left = all.filter((upstream) => !next.all.includes(upstream));
      setTimeout(() => left.map((upstream) => upstream.pool?.close().catch(() => undefined)), LEAVE_MS).unref();
    },
    destroy: async () => {
      await Promise.all(all.map((upstream) => upstream.pool?.destroy()));
    },
  };
}

function open(settings: UpstreamSettings, load: Load): Upstream {
  if (settings.builtin) return counted({ settings, pool: null, basePath: '', headers: [], load });
  const base = new URL(settings.baseUrl);
  const pool = new Pool(base.origin, {
    connections: null, // a small pool starves long streams; the cap is `concurrency`
    pipelining: 1,
    keepAliveTimeout: 30_000,
    headersTimeout: settings.timeouts.firstByteMs,
    bodyTimeout: settings.timeouts.idleMs,
    maxHeaderSize: 64 * 1024,
    connect: { timeout: settings.timeouts.connectMs, lookup: guardedLookup },
  });
  return counted({ settings, pool, basePath: base.pathname.replace(/\/+$/, ''), headers: headersOf(settings), load });
}

function counted(upstream: Omit<Upstream, 'inFlight'>): Upstream {
  const { load } = upstream;
  return {
    ...upstream,
    get inFlight() {
      return load.inFlight;
    },
    set inFlight(count) {
      load.inFlight = count;
    },
  };
}

function headersOf(settings: UpstreamSettings): string[] {
  const headers = ['content-type', 'application/json', 'accept-encoding', 'identity', 'user-agent', 'farebox'];
  if (settings.apiKey) headers.push('authorization', `Bearer ${settings.apiKey}`);
  for (const [name, value] of Object.entries(settings.headers)) headers.push(name, value);
  return headers;
}

const METADATA = new Set(['169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe']);

/** The name was checked when the configuration was read; what it resolves to is checked here, at every connection. */
const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, options, (error, address, family) => {
    const found = typeof address === 'string' ? [address] : (address ?? []).map((entry) => entry.address);
    if (!error && found.some((one) => METADATA.has(one))) {
      callback(Object.assign(new Error('the upstream resolves to a cloud metadata address'), { code: 'EFORBIDDEN' }), '', 4);
      return;
    }
    callback(error, address, family);
  });
};
