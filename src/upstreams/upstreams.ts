import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Pool } from 'undici';
import type { UpstreamSettings } from '../domain/settings.js';
import { type Candidate, createPicker } from './pick.js';

/** An upstream with its connections. `inFlight` is kept by whoever forwards. */
export interface Upstream {
  readonly settings: UpstreamSettings;
  /** Null for the built-in demo, which is answered in this process. */
  readonly pool: Pool | null;
  /** Path in front of `/chat/completions`, for example `/v1`. */
  readonly basePath: string;
  /** Headers that go with every request, as the flat list undici sends without copying. */
  readonly headers: readonly string[];
  inFlight: number;
}

export interface Upstreams {
  readonly all: readonly Upstream[];
  pick(model: string): readonly Candidate<Upstream>[];
  /** Lets running requests finish, then closes the connections. */
  close(): Promise<void>;
  destroy(): Promise<void>;
}

export function createUpstreams(settings: readonly UpstreamSettings[]): Upstreams {
  const all = settings.map(open);
  return {
    all,
    pick: createPicker(all),
    close: async () => {
      await Promise.all(all.map((upstream) => upstream.pool?.close()));
    },
    destroy: async () => {
      await Promise.all(all.map((upstream) => upstream.pool?.destroy()));
    },
  };
}

function open(settings: UpstreamSettings): Upstream {
  if (settings.builtin) return { settings, pool: null, basePath: '', headers: [], inFlight: 0 };
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
  return { settings, pool, basePath: base.pathname.replace(/\/+$/, ''), headers: headersOf(settings), inFlight: 0 };
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
