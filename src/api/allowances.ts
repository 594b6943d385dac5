import { z } from '@hono/zod-openapi';
import type { OrgId } from '../domain/ids.js';
import type { MeterEntry, PriceBook } from '../pricing/book.js';
import { type AllowanceUse, readAllowances } from '../usage/allowances.js';
import type { ApiDeps } from './deps.js';
import { TimeOut, timeOut } from './schemas.js';

/** Units of a meter that cost nothing in a month. With what is sold by time, everything is in seconds. */
export const AllowanceSchema = z
  .strictObject({
    meter: z.string(),
    label: z.string(),
    unit: z.string(),
    month: z.string(),
    allowance: z.int(),
    used: z.int(),
    left: z.int(),
    resets_at: TimeOut,
  })
  .openapi('Allowance');

export type AllowanceOut = z.input<typeof AllowanceSchema>;

/** Every allowance of the price book in force, with what is left of it in the month of a day (null: this month). */
export async function allowancesOf(deps: ApiDeps, orgId: OrgId, date: string | null = null): Promise<AllowanceOut[]> {
  const meters = withAllowance(deps.prices());
  const use = meters.length > 0 ? await readAllowances({ db: deps.db, orgId, date, nowMs: deps.clock.nowMs() }) : undefined;
  return use ? meters.map((meter) => allowanceOut(meter, use)) : [];
}

const withAllowance = (book: PriceBook) => book.meters().filter((one): one is MeterEntry & { allowance: number } => one.allowance !== null);

function allowanceOut({ name, label, unit, allowance, entry }: MeterEntry & { allowance: number }, use: AllowanceUse): AllowanceOut {
  const used = Object.hasOwn(use.used, name) ? (use.used[name] ?? 0) : 0;
  return {
    ...{ meter: name, label, unit: entry.stepSeconds > 0 ? 'second' : unit, month: use.month, allowance, used },
    left: Math.max(0, allowance - used),
    resets_at: timeOut(use.ends_at),
  };
}
