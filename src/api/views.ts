import type { Actor } from '../accounts/actor.js';
import { nameOf } from '../accounts/actor.js';
import { isViewing, noteView, VIEW_EVERY_MS } from '../accounts/noteView.js';
import { from } from '../telemetry/origin.js';
import type { ApiDeps } from './deps.js';

const REMEMBERED_MAX = 10_000;

/** Notes that somebody of the operator looks into an organization, before they see anything of it. */
export type Views = (look: { readonly actor: Actor; readonly orgId: string; readonly address: string | undefined }) => Promise<void>;

export function createViews({ db, clock }: Pick<ApiDeps, 'db' | 'clock'>): Views {
  const noted = new Map<string, number>();
  return async ({ actor, orgId, address }) => {
    if (!isViewing(actor, orgId)) return;
    const key = `${nameOf(actor)} ${orgId}`;
    const nowMs = clock.nowMs();
    if (nowMs - (noted.get(key) ?? Number.NEGATIVE_INFINITY) < VIEW_EVERY_MS) return;
    await from(address, () => noteView({ db, actor, orgId }));
    if (noted.size >= REMEMBERED_MAX) noted.clear();
    noted.set(key, nowMs);
  };
}
