import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { projectMonth } from './forecast.js';
import { readMonth } from './month.js';

/** The running month as the page of it says, in two figures. Micro-credits. */
export interface UsageTick {
  readonly month: string;
  readonly used: number;
  readonly projected: number | null;
}

export async function readTick(db: Database, orgId: OrgId, nowMs: number): Promise<UsageTick | undefined> {
  const month = await readMonth({ db, orgId, month: null, nowMs, onlyTokens: null });
  return month && { month: month.month, used: month.totals.cost, projected: projectMonth(month) };
}
