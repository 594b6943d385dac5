import type { Actor } from '../accounts/actor.js';
import type { AccountsContext } from '../accounts/context.js';
import type { ApiDeps } from './deps.js';

/** What a verb needs, on behalf of one actor. */
export const contextFor = ({ db, clock, pepper, project }: ApiDeps, actor: Actor): AccountsContext => ({
  db,
  clock,
  pepper,
  project,
  actor,
});
