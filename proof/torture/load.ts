import { type Call, call, type Result } from '../../test/support/sse.js';
import { bodyOf, makePlan, type Plan, pathOf } from './plans.js';
import type { World } from './world.js';

/** What one scripted client did and saw. */
export interface Entry {
  readonly tag: string;
  readonly plan: Plan;
  readonly body: string;
  readonly startedMs: number;
  endedMs: number;
  /** Null: the connection ended before an answer. */
  result: Result | null;
  /** Of requests that share an Idempotency-Key. */
  readonly twin: string | null;
}

export interface Load {
  readonly entries: readonly Entry[];
  readonly running: number;
  /** No new requests; resolves when all are over. */
  stop(): Promise<void>;
}

const CLIENT_PATIENCE_MS = 45_000;

/** Scripted clients that ask and ask again, until they are told to stop or this many requests have been made. */
export function startLoad(world: World, options: { readonly prefix: string; readonly atOnce: number; readonly most?: number }): Load {
  const entries: Entry[] = [];
  const { prefix, atOnce, most = 20_000 } = options;
  let stopping = false;
  let running = 0;
  const client = async (): Promise<void> => {
    while (!stopping && entries.length < most) {
      const plan = makePlan(world.random);
      const key = plan.client === 'asks_twice' ? `key-${prefix}-${entries.length}` : null;
      const copies = key ? 2 : 1;
      running += copies;
      const asked = Array.from({ length: copies }, () => begin(world, entries, { prefix, plan, key }));
      await Promise.all(asked);
      running -= copies;
      // A refused client does not hammer.
      await pause(asked.length > 0 && entries.at(-1)?.result?.status === 503 ? 100 : world.random.whole(0, 30));
    }
  };
  const clients = Array.from({ length: atOnce }, client);
  return {
    entries,
    get running() {
      return running;
    },
    stop: async () => {
      stopping = true;
      await Promise.all(clients);
    },
  };
}

function begin(world: World, entries: Entry[], what: { prefix: string; plan: Plan; key: string | null }): Promise<void> {
  const { prefix, plan, key } = what;
  const tag = `${prefix}-${entries.length}`;
  const entry: Entry = { tag, plan, body: bodyOf(plan, tag), startedMs: Date.now(), endedMs: 0, result: null, twin: key };
  entries.push(entry);
  return exchange(world, entry, key);
}

async function exchange(world: World, entry: Entry, key: string | null): Promise<void> {
  const asked = call(`${world.product.url}${pathOf(entry.plan)}`, {
    method: 'POST',
    token: world.customer.token,
    headers: { 'Content-Type': 'application/json', 'X-Request-Id': entry.tag, ...(key ? { 'Idempotency-Key': key } : {}) },
    body: entry.body,
  });
  const tooLate = setTimeout(() => asked.hangUp(), CLIENT_PATIENCE_MS);
  try {
    await behave(entry.plan, asked);
    entry.result = await asked.end();
    if (entry.result.status === 0) entry.result = null;
  } catch {
    entry.result = null;
  } finally {
    clearTimeout(tooLate);
    entry.endedMs = Date.now();
  }
}

async function behave(plan: Plan, asked: Call): Promise<void> {
  if (plan.client === 'half_closes') asked.halfClose();
  if (plan.client === 'reads_slowly') asked.readSlowly(4_000);
  if (plan.client !== 'leaves') return;
  for (let events = 0; events < 5; events++) if (!(await asked.next())) return;
  asked.hangUp();
}

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));
