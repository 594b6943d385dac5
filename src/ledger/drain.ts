import type { CreditStore, StreamEntry } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { databaseError, isOutage } from '../db/errors.js';
import { giveLease, takeLease } from '../db/lease.js';
import type { Clock } from '../domain/clock.js';
import { steadyClock } from '../domain/clock.js';
import type { OrgId } from '../domain/ids.js';
import { createCursors } from './cursors.js';
import { pause } from './pause.js';
import { type PostedOrg, postCharges, type Rejected } from './post.js';

export interface DrainOptions {
  readonly db: Database;
  readonly store: CreditStore;
  /** Names this process among others that could drain. */
  readonly owner: string;
  readonly clock?: Clock;
  readonly batchMax?: number;
  readonly batchBytesMax?: number;
  /** Drained entries stay in the stream this long: they repair a Postgres that lost its last seconds. */
  readonly keepMs?: number;
  readonly leaseMs?: number;
  readonly idleMs?: number;
  /** After a small batch: the next one is waited for that long. */
  readonly gatherMs?: number;
  readonly onLag?: (lag: { readonly seconds: number; readonly waiting: number }) => void;
  /** `batch` is what was sent; entries that were booked before are in it again after a restart. */
  readonly onPosted?: (done: {
    readonly charges: number;
    readonly orgs: readonly OrgId[];
    readonly ms: number;
    readonly batch: readonly StreamEntry[];
  }) => void;
  /** A row was set aside in poison_rows: somebody must look at it. */
  readonly onPoison?: (row: { readonly requestId: string; readonly orgId: string; readonly error: string }) => void;
  readonly onError?: (error: unknown) => void;
}

/** `standby`: another process drains. `away`: Postgres or the store does not answer; nothing is lost, try again later. */
export type DrainStep =
  | { readonly kind: 'drained'; readonly charges: number }
  | { readonly kind: 'idle' }
  | { readonly kind: 'standby' }
  | { readonly kind: 'away' };

export interface Drain {
  /** One batch over all shards. */
  step(): Promise<DrainStep>;
  /** Steps until the signal; resolves after the batch in progress. */
  run(signal: AbortSignal): Promise<void>;
}

const LEASE = 'drain';
const AWAY_MAX_MS = 5_000;
const GATHER_BELOW = 1_000;

/**
 * Moves settled charges from the hot store into Postgres. Posting is idempotent, so whatever is uncertain (a cut
 * connection, a lost lease, a restart) is simply sent again.
 */
export function createDrain(options: DrainOptions): Drain {
  const { db, store, owner } = options;
  const clock = options.clock ?? steadyClock;
  const settings = { batchMax: 4_000, batchBytesMax: 8_000_000, keepMs: 300_000, leaseMs: 15_000, idleMs: 100, gatherMs: 50, ...options };
  const cursors = createCursors({ db, store, keepMs: settings.keepMs });
  let leasedUntilMs = 0;
  let waitingSinceMs = 0;

  const lead = async (): Promise<boolean> => {
    if (clock.nowMs() < leasedUntilMs - (settings.leaseMs * 2) / 3) return true;
    const before = leasedUntilMs;
    const asked = clock.nowMs();
    const lease = await takeLease(db, LEASE, owner, settings.leaseMs);
    leasedUntilMs = lease ? asked + settings.leaseMs : 0;
    if (lease && before < asked) await cursors.load();
    return lease !== undefined;
  };

  const lag = (waiting: number): void => {
    if (waiting === 0) waitingSinceMs = 0;
    else waitingSinceMs ||= clock.nowMs();
    options.onLag?.({ seconds: waitingSinceMs === 0 ? 0 : (clock.nowMs() - waitingSinceMs) / 1000, waiting });
  };

  const step = async (): Promise<DrainStep> => {
    let read = 0;
    try {
      if (!(await lead())) return { kind: 'standby' };
      const batch = await cursors.read(settings.batchMax, settings.batchBytesMax);
      read = batch.length;
      const started = clock.nowMs();
      const posted = await postBatch(options, batch);
      const told = await tell(store, batch, posted);
      await cursors.advance(batch, told.shards);
      if (batch.length === 0) {
        lag(0);
        return { kind: 'idle' };
      }
      options.onPosted?.({ charges: batch.length, orgs: posted.orgs.map((org) => org.orgId), ms: clock.nowMs() - started, batch });
      lag(told.shards.size === 0 && batch.length < settings.batchMax ? 0 : batch.length);
      return told.complete ? { kind: 'drained', charges: batch.length } : { kind: 'away' };
    } catch (error) {
      cursors.forget();
      leasedUntilMs = 0;
      lag(Math.max(1, read));
      options.onError?.(error);
      return { kind: 'away' };
    }
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    let awayMs = settings.idleMs;
    while (!signal.aborted) {
      const done = await step();
      awayMs = done.kind === 'away' ? Math.min(awayMs * 2, AWAY_MAX_MS) : settings.idleMs;
      // A statement for a hundred costs little more than one for a single charge, and each look asks every shard.
      if (done.kind === 'drained' && done.charges < GATHER_BELOW) await pause(settings.gatherMs, signal);
      else if (done.kind !== 'drained') await pause(done.kind === 'standby' ? settings.leaseMs / 3 : awayMs, signal);
    }
    await giveLease(db, LEASE, owner).catch(() => undefined);
  };
  return { step, run };
}

interface Posted {
  readonly orgs: readonly PostedOrg[];
  readonly aside: ReadonlySet<string>;
}

/** The whole batch in one statement. When a row in it is malformed, halves, until that row is alone and set aside. */
async function postBatch(options: DrainOptions, batch: readonly StreamEntry[]): Promise<Posted> {
  if (batch.length === 0) return { orgs: [], aside: new Set() };
  try {
    const { orgs, rejected } = await postCharges(
      options.db,
      batch.map((entry) => entry.event),
    );
    for (const one of rejected) await setAside(options, batch, one);
    return { orgs, aside: new Set(rejected.map((one) => one.requestId)) };
  } catch (error) {
    if (isOutage(error) || !isAboutData(error)) throw error;
    const [first] = batch;
    if (batch.length === 1 && first) {
      const reason = error instanceof Error ? error.message : String(error);
      await setAside(options, batch, { requestId: first.requestId, orgId: first.orgId, reason });
      return { orgs: [], aside: new Set([first.requestId]) };
    }
    const middle = Math.ceil(batch.length / 2);
    const left = await postBatch(options, batch.slice(0, middle));
    const right = await postBatch(options, batch.slice(middle));
    const latest = new Map([...left.orgs, ...right.orgs].map((org) => [`${org.orgId}`, org]));
    const tokens = mergeTokens(left.orgs, right.orgs);
    const orgs = [...latest.values()].map((org) => ({ ...org, tokens: tokens.get(org.orgId) ?? org.tokens }));
    return { orgs, aside: new Set([...left.aside, ...right.aside]) };
  }
}

/** Both halves may have used tokens of one organization; the later numbers win. */
function mergeTokens(left: readonly PostedOrg[], right: readonly PostedOrg[]): Map<OrgId, PostedOrg['tokens']> {
  const merged = new Map<OrgId, PostedOrg['tokens']>();
  for (const org of [...left, ...right]) {
    const seen = new Map((merged.get(org.orgId) ?? []).map((use) => [use.tokenId, use]));
    for (const use of org.tokens) seen.set(use.tokenId, use);
    merged.set(org.orgId, [...seen.values()]);
  }
  return merged;
}

/** Values Postgres refuses are the row's fault; everything else is ours or the server's, and no reason to drop a row. */
export function isAboutData(error: unknown): boolean {
  return /^(?:22|23|P0001)/.test(databaseError(error).code);
}

async function setAside(options: DrainOptions, batch: readonly StreamEntry[], one: Rejected): Promise<void> {
  const entry = batch.find((candidate) => candidate.requestId === one.requestId);
  if (!entry) return;
  const row = await options.db.one(
    `insert into poison_rows (shard, cursor, org_id, request_id, event, error) values ($1, $2, $3, $4, $5, $6)
     on conflict (shard, cursor) do nothing returning id`,
    [entry.orgId.slice(4, 6), entry.cursor, entry.orgId, entry.requestId, entry.event.replaceAll('\0', ''), one.reason],
    { idempotent: true },
  );
  if (row) options.onPoison?.({ requestId: entry.requestId, orgId: entry.orgId, error: one.reason });
}

/** Tells the hot store what was booked; answers which shards did not take it, so that their entries come again. */
async function tell(
  store: CreditStore,
  batch: readonly StreamEntry[],
  posted: Posted,
): Promise<{ complete: boolean; shards: ReadonlySet<string> }> {
  const clear = new Map<OrgId, StreamEntry[]>();
  for (const entry of batch) {
    if (posted.aside.has(entry.requestId)) continue;
    const list = clear.get(entry.orgId);
    if (list) list.push(entry);
    else clear.set(entry.orgId, [entry]);
  }
  const missed = new Set<string>();
  await Promise.all(
    posted.orgs.map(async ({ orgId, balance, tokens }) => {
      const answer = await store.applied({ orgId, balance, tokens, clear: clear.get(orgId) ?? [] });
      if (answer.kind === 'unavailable') missed.add(orgId.slice(4, 6));
    }),
  );
  return { complete: missed.size === 0, shards: missed };
}
