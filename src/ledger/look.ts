import type { CreditStore, OrgState, Unavailable } from '../credits/store.js';
import { monotonicMs } from '../domain/clock.js';
import type { OrgId } from '../domain/ids.js';

const PATIENCE_MS = 1_000;
const ASK_EVERY_MS = 50;

/**
 * What the hot store knows of an organization. After a loss one that was not loaded yet is loaded because it is asked for, so
 * it is asked for again, a moment long, before anybody is told to come back.
 */
export async function inspectLoaded(
  store: CreditStore,
  orgId: OrgId,
  patienceMs: number = PATIENCE_MS,
): Promise<OrgState | undefined | Unavailable> {
  const untilMs = monotonicMs() + patienceMs;
  for (;;) {
    const state = await store.inspect(orgId);
    const isComing = state !== undefined && 'kind' in state && state.reason === 'not_loaded';
    if (!isComing || monotonicMs() >= untilMs) return state;
    await new Promise((go) => setTimeout(go, ASK_EVERY_MS));
  }
}
