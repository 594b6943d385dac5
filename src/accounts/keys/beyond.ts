import { type Actor, heldBy } from '../actor.js';
import { SCOPES, type Scope } from './scopes.js';

/** A key that may do more than whoever makes it would be a way around their role. */
export interface BeyondOwnRole {
  readonly kind: 'beyond_own_role';
  readonly scope: Scope;
}

export function beyondOwn(actor: Actor, scopes: readonly Scope[]): BeyondOwnRole | undefined {
  const held = new Set(heldBy(actor));
  const scope = scopes.find((one) => SCOPES[one].some((permission) => !held.has(permission)));
  return scope === undefined ? undefined : { kind: 'beyond_own_role', scope };
}
