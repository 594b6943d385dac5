import type { Database } from '../db/client.js';
import type { Trace } from '../domain/charge.js';
import type { OrgId, RequestId } from '../domain/ids.js';
import { LOG_VIEW, type LogRow, uuidOf } from './logRow.js';

/** One request with everything the books know of it. */
export interface LogDetail extends LogRow {
  readonly day: string;
  readonly operator_loss: number;
  readonly cache_write_5m: number;
  readonly cache_write_1h: number;
  readonly audio_input: number;
  readonly audio_output: number;
  readonly images: number;
  readonly seconds: number;
  readonly characters: number;
  readonly meters: Readonly<Record<string, number>> | null;
  /** Null for whatever went as usual. */
  readonly trace: Trace | null;
  /** What it was first booked for, before any correction. */
  readonly first_cost: number;
  readonly corrections: readonly Correction[];
  /** Null when nothing was charged. */
  readonly booked: readonly Booking[];
}

export interface Correction {
  readonly at: string;
  readonly old_kind: string;
  readonly new_kind: string;
  readonly old_cost: number;
  readonly new_cost: number;
}

/** A ledger transaction that took or gave back for this request. One transaction books a whole batch of requests. */
export interface Booking {
  readonly tx_id: number;
  readonly kind: 'usage' | 'usage_return';
  readonly at: string;
  /** What this request changed in it: more or less to pay. */
  readonly share: number;
  readonly lines: readonly BookingLine[];
}

/** Negative = taken from there. `grant` is null for debt. */
export interface BookingLine {
  readonly amount: number;
  readonly grant_id: number | null;
  readonly grant_kind: string | null;
  readonly category: string | null;
  readonly expires_at: string | null;
}

/** One request of this organization; somebody else's looks as if it were not there. */
export async function readLog(what: {
  db: Database;
  orgId: OrgId;
  requestId: RequestId;
  /** Only if it is of one of these; null = whatever its token. */
  onlyTokens: readonly string[] | null;
}): Promise<LogDetail | undefined> {
  const { db, requestId } = what;
  const rows = await db.query<{ row: LogDetail }>(DETAIL, [uuidOf(requestId), requestId, what.orgId, what.onlyTokens], {
    idempotent: true,
  });
  return rows[0]?.row;
}

const DETAIL = `
  select ${LOG_VIEW} || jsonb_build_object(
      'day', r.day, 'operator_loss', r.operator_loss, 'meters', r.meters, 'trace', r.trace,
      'first_cost', coalesce((select c.old_cost from usage_corrections c where c.request_id = r.request_id order by c.id limit 1), r.cost),
      'corrections', coalesce((select jsonb_agg(jsonb_build_object('at', c.at, 'old_kind', c.old_kind, 'new_kind', c.new_kind,
          'old_cost', c.old_cost, 'new_cost', c.new_cost) order by c.id)
        from usage_corrections c where c.request_id = r.request_id), '[]'),
      'booked', coalesce((select jsonb_agg(jsonb_build_object('tx_id', t.id, 'kind', t.kind, 'at', t.created_at, 'share', b.share,
          'lines', (select coalesce(jsonb_agg(jsonb_build_object('amount', e.amount, 'grant_id', a.grant_id, 'grant_kind', g.kind,
              'category', g.category, 'expires_at', g.expires_at) order by e.id), '[]')
            from ledger_entries e join ledger_accounts a on a.id = e.account_id left join grants g on g.grant_id = a.grant_id
            where e.tx_id = t.id and a.kind in ('grant', 'debt') and a.org_id = r.org_id)) order by t.id)
        from (
          select r.tx_id as id, coalesce((select c.old_cost from usage_corrections c
            where c.request_id = r.request_id order by c.id limit 1), r.cost) as share
          union all
          select c.tx_id, c.new_cost - c.old_cost from usage_corrections c where c.request_id = r.request_id
        ) b join ledger_txs t on t.id = b.id), '[]'))
    as row
  from usage_records r
  where r.request_id = $1::text::uuid and r.ts = request_time($2) and r.org_id = $3
    and ($4::text[] is null or r.token_id = any ($4::text[]))`;
