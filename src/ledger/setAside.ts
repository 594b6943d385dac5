import type { CreditStore, OrgState, Unavailable } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { isOrgId, type OrgId, type RequestId } from '../domain/ids.js';
import { isAboutData } from './drain.js';
import { inspectLoaded } from './look.js';
import { type PostedOrg, postCharges } from './post.js';
import { readOrg } from './snapshot.js';

/** A charge no transaction could take. Its amount stays pending in the hot store until somebody has dealt with it. */
export interface AsideRow {
  readonly id: number;
  readonly at: string;
  readonly org_id: string | null;
  readonly request_id: string | null;
  /** The charge event as it came, which may be anything. */
  readonly event: string;
  readonly error: string;
  readonly resolved_at: string | null;
  readonly resolution: 'booked' | 'dropped' | null;
  readonly resolved_by: string | null;
  readonly note: string | null;
}

const VIEW = `select to_jsonb(p) - '{shard,cursor}'::text[] as aside from poison_rows p`;

/** Newest first. */
export async function listAside(
  db: Database,
  page: { readonly open: boolean | null; readonly before: number | null; readonly limit: number },
): Promise<{ readonly rows: readonly AsideRow[]; readonly hasMore: boolean }> {
  const rows = await db.query<{ aside: AsideRow }>(
    `${VIEW} where ($1::boolean is null or (p.resolved_at is null) = $1::boolean) and ($2::bigint is null or p.id < $2::bigint)
     order by p.id desc limit $3::int`,
    [page.open, page.before, page.limit + 1],
    { idempotent: true },
  );
  return { rows: rows.slice(0, page.limit).map(({ aside }) => aside), hasMore: rows.length > page.limit };
}

export type Resolved =
  | { readonly kind: 'resolved'; readonly row: AsideRow }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'resolved_before'; readonly row: AsideRow }
  /** It cannot be booked as it is; the reason is Postgres' own. */
  | { readonly kind: 'refused'; readonly reason: string }
  | Unavailable;

/**
 * Books a charge that was set aside, now that what stood in its way is gone. Posting is idempotent, and the row is marked
 * last, so whoever dies in between has done no harm and does it again.
 */
export async function bookAside(
  parts: { readonly db: Database; readonly store: CreditStore },
  command: { readonly id: number; readonly actor: string },
): Promise<Resolved> {
  const { db, store } = parts;
  const row = await readAside(db, command.id);
  if (!row) return { kind: 'unknown' };
  if (row.resolved_at !== null) return { kind: 'resolved_before', row };
  const posted = await postOne(db, row.event);
  if ('reason' in posted) return { kind: 'refused', reason: posted.reason };
  const told = await forget(store, row, posted.org);
  if (told) return told;
  return mark(db, { ...command, resolution: 'booked', note: null });
}

/** Gives a charge up: nobody pays for it, and what was pending is free again. */
export async function dropAside(
  parts: { readonly db: Database; readonly store: CreditStore },
  command: { readonly id: number; readonly actor: string; readonly reason: string },
): Promise<Resolved> {
  const { db, store } = parts;
  const row = await readAside(db, command.id);
  if (!row) return { kind: 'unknown' };
  if (row.resolved_at !== null) return { kind: 'resolved_before', row };
  const org = row.org_id !== null && isOrgId(row.org_id) ? await readOrg(db, row.org_id) : undefined;
  const told = await forget(store, row, org && { orgId: org.terms.orgId, balance: org.balance, tokens: [] });
  if (told) return told;
  return mark(db, { id: command.id, actor: command.actor, resolution: 'dropped', note: command.reason });
}

async function readAside(db: Database, id: number): Promise<AsideRow | undefined> {
  return (await db.one<{ aside: AsideRow }>(`${VIEW} where p.id = $1`, [id], { idempotent: true }))?.aside;
}

async function postOne(db: Database, event: string): Promise<{ readonly org: PostedOrg | undefined } | { readonly reason: string }> {
  try {
    const { orgs, rejected } = await postCharges(db, [event]);
    const [no] = rejected;
    return no ? { reason: no.reason } : { org: orgs[0] };
  } catch (error) {
    if (!isAboutData(error)) throw error;
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Takes the charge out of what is pending; an organization the hot store never knew has nothing pending. */
async function forget(store: CreditStore, row: AsideRow, org: PostedOrg | undefined): Promise<Unavailable | undefined> {
  if (!org) return undefined;
  const state: OrgState | undefined | Unavailable = await inspectLoaded(store, org.orgId as OrgId);
  if (state && 'kind' in state) return state;
  const pending = state?.pending.find(({ requestId }) => requestId === (row.request_id as RequestId | null));
  const answer = await store.applied({ ...org, clear: pending ? [pending] : [] });
  return answer.kind === 'unavailable' ? answer : undefined;
}

async function mark(
  db: Database,
  done: { readonly id: number; readonly actor: string; readonly resolution: 'booked' | 'dropped'; readonly note: string | null },
): Promise<Resolved> {
  const row = await db.one<{ aside: AsideRow }>(
    `with marked as (
       update poison_rows set resolved_at = now(), resolution = $2, resolved_by = $3, note = $4 where id = $1 and resolved_at is null returning *
     ), audited as (
       insert into audit_log (org_id, actor, action, subject, details)
       select m.org_id, $3, 'aside.' || $2, coalesce(m.request_id, 'aside_' || m.id), jsonb_strip_nulls(jsonb_build_object('id', m.id, 'reason', $4::text)) from marked m
     )
     select to_jsonb(marked) - '{shard,cursor}'::text[] as aside from marked`,
    [done.id, done.resolution, done.actor, done.note],
  );
  if (row) return { kind: 'resolved', row: row.aside };
  const before = await readAside(db, done.id);
  return before ? { kind: 'resolved_before', row: before } : { kind: 'unknown' };
}
