import type { Database } from '../db/client.js';
import { databaseError } from '../db/errors.js';

export interface Retention {
  /** Months whose single requests are gone now, as "2026-01". */
  readonly gone: readonly string[];
  /** Months that are due and stay all the same, and why. */
  readonly kept: readonly { readonly month: string; readonly why: string }[];
}

const DAY_MS = 86_400_000;
const SEAL_MS = 10 * 60_000;

/**
 * Lets go of the single requests of whole months (in UTC) that ended long enough ago: first each is sealed, then its partition
 * goes. Both steps are one statement each and do nothing the second time, so any number of workers may be cut off anywhere.
 */
export async function letGoMonths(
  db: Database,
  what: { readonly nowMs: number; readonly retentionDays: number; readonly skip?: (month: string) => boolean },
): Promise<Retention> {
  const before = new Date(what.nowMs - what.retentionDays * DAY_MS);
  const due = await db.query<{ month: string; is_sealed: boolean }>(
    'select month, is_sealed from usage_months_before($1::timestamptz)',
    [before],
    {
      idempotent: true,
    },
  );
  const gone: string[] = [];
  const kept: { month: string; why: string }[] = [];
  for (const { month: first, is_sealed } of due) {
    const month = first.slice(0, 7);
    if (what.skip?.(month)) continue;
    try {
      if (!is_sealed) await seal(db, first);
      const row = await db.one<{ gone: boolean }>('select let_go_usage_month($1::text::date) as gone', [first], { timeoutMs: SEAL_MS });
      if (row?.gone) gone.push(month);
    } catch (cause) {
      kept.push({ month, why: whyOf(cause) });
    }
  }
  return { gone, kept };
}

/** A busy month takes longer than a statement usually may. The whole of it is one function call all the same. */
const seal = (db: Database, first: string): Promise<void> => {
  if (!/^\d{4}-\d{2}-01$/.test(first)) throw new RangeError(`not the first day of a month: ${first}`);
  return db.script(`set local statement_timeout = ${SEAL_MS}; select seal_usage_month('${first}')`, { timeoutMs: SEAL_MS });
};

/** Only what the books say about themselves is a reason; everything else is tried again soon. */
function whyOf(cause: unknown): string {
  const { code, message } = databaseError(cause);
  if (code.startsWith('23')) return message;
  throw cause;
}
