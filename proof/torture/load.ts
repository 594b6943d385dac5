import { type Call, call, type Result } from '../../test/support/sse.js';
import type { Random } from '../random.js';
import { bodyOf, makePlan, type Plan, pathOf, planOf } from './plans.js';

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

/** Where the requests go, and who pays for them. */
export interface Target {
  readonly url: string;
  readonly token: string;
  readonly random: Random;
}

export interface Load {
  readonly entries: readonly Entry[];
  /** Hands over the requests that ended at least so long ago, and forgets them. */
  take(sinceMs: number): Entry[];
  /** This many requests of one kind at once, besides; resolves when they are over. */
  burst(count: number, kind: string): Promise<void>;
  /** No new requests; resolves when all are over. */
  stop(): Promise<void>;
}

/** Longer than any plan takes, and than any fault may hold an answer up. */
const CLIENT_PATIENCE_MS = 30_000;

interface LoadOptions {
  readonly prefix: string;
  readonly atOnce: number;
  readonly most?: number;
  /** How long a client waits for its whole answer before it says that something hangs. */
  readonly patienceMs?: number;
  /** What each request does; by default a bit of everything. */
  readonly plan?: (random: Random) => Plan;
}

/** Scripted clients that ask and ask again, until they are told to stop or this many requests have been made. */
export function startLoad(target: Target, options: LoadOptions): Load {
  const entries: Entry[] = [];
  const { prefix, atOnce, most = 20_000, patienceMs = CLIENT_PATIENCE_MS, plan: planFor = makePlan } = options;
  const { random } = target;
  let made = 0;
  let stopping = false;
  const begin = (plan: Plan, key: string | null): Promise<Entry> => {
    const tag = `${prefix}-${made++}`;
    const entry: Entry = { tag, plan, body: bodyOf(plan, tag), startedMs: Date.now(), endedMs: 0, result: null, hung: false, twin: key };
    entries.push(entry);
    return exchange(target, entry, key, patienceMs);
  };
  const client = async (): Promise<void> => {
    while (!stopping && made < most) {
      const plan = planFor(random);
      const key = plan.client === 'asks_twice' ? `key-${prefix}-${made}` : null;
      const asked = await Promise.all(Array.from({ length: key ? 2 : 1 }, () => begin(plan, key)));
      const last = asked.at(-1)?.result;
      // A client that got nothing does not hammer.
      await pause(!last || last.status === 503 ? 100 : random.whole(0, 30));
    }
  };
  const clients = Array.from({ length: atOnce }, client);
  return {
    entries,
    take: (sinceMs) => {
      const isOld = ({ endedMs }: Entry) => endedMs > 0 && Date.now() - endedMs > sinceMs;
      const taken = entries.filter(isOld);
      entries.splice(0, entries.length, ...entries.filter((entry) => !isOld(entry)));
      return taken;
    },
    burst: async (count, kind) => {
      await Promise.all(Array.from({ length: count }, () => begin(planOf(kind, random), null)));
    },
    stop: async () => {
      stopping = true;
      await Promise.all(clients);
    },
  };
}

async function exchange(target: Target, entry: Entry, key: string | null, patienceMs: number): Promise<Entry> {
  const asked = call(`${target.url}${pathOf(entry.plan)}`, {
    method: 'POST',
    token: target.token,
    headers: { 'Content-Type': 'application/json', 'X-Request-Id': entry.tag, ...(key ? { 'Idempotency-Key': key } : {}) },
    body: entry.body,
  });
  const tooLate = setTimeout(() => {
    entry.hung = true;
    asked.hangUp();
  }, patienceMs);
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
  return entry;
}

async function behave(plan: Plan, asked: Call): Promise<void> {
  if (plan.client === 'half_closes') asked.halfClose();
  if (plan.client === 'reads_slowly') asked.readSlowly(4_000);
  if (plan.client !== 'leaves') return;
  for (let events = 0; events < 5; events++) if (!(await asked.next())) return;
  asked.hangUp();
}

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));
