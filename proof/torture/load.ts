import { type Call, call, type Result } from '../../test/support/sse.js';
import { bodyOf, makePlan, type Plan, pathOf, planOf } from './plans.js';
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
  /** The client gave up waiting: something hangs. */
  hung: boolean;
  /** Of requests that share an Idempotency-Key. */
  readonly twin: string | null;
}

export interface Load {
  readonly entries: readonly Entry[];
  /** This many requests of one kind at once, besides; resolves when they are over. */
  burst(count: number, kind: string): Promise<void>;
  /** No new requests; resolves when all are over. */
  stop(): Promise<void>;
}

/** Longer than any plan takes, and than any fault may hold an answer up. */
const CLIENT_PATIENCE_MS = 30_000;

/** Scripted clients that ask and ask again, until they are told to stop or this many requests have been made. */
export function startLoad(world: World, options: { readonly prefix: string; readonly atOnce: number; readonly most?: number }): Load {
  const entries: Entry[] = [];
  const { prefix, atOnce, most = 20_000 } = options;
  let stopping = false;
  const client = async (): Promise<void> => {
    while (!stopping && entries.length < most) {
      const plan = makePlan(world.random);
      const key = plan.client === 'asks_twice' ? `key-${prefix}-${entries.length}` : null;
      const copies = key ? 2 : 1;
      const asked = Array.from({ length: copies }, () => begin(world, entries, { prefix, plan, key }));
      await Promise.all(asked);
      const last = entries.at(-1)?.result;
      // A client that got nothing does not hammer.
      await pause(!last || last.status === 503 ? 100 : world.random.whole(0, 30));
    }
  };
  const clients = Array.from({ length: atOnce }, client);
  return {
    entries,
    burst: async (count, kind) => {
      const one = () => begin(world, entries, { prefix, plan: planOf(kind, world.random), key: null });
      await Promise.all(Array.from({ length: count }, one));
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
  const entry: Entry = { tag, plan, body: bodyOf(plan, tag), startedMs: Date.now(), endedMs: 0, result: null, hung: false, twin: key };
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
  const tooLate = setTimeout(() => {
    entry.hung = true;
    asked.hangUp();
  }, CLIENT_PATIENCE_MS);
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
