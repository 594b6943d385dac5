import { unreachable } from '../domain/refusal.js';
import { PERMISSIONS as ROLE_PERMISSIONS } from './roles/permissions.js';

/** Who asks for a change. Every verb takes one, and every change names it in the audit log. */
export type Actor =
  | { readonly kind: 'operator' }
  /** The server itself: first start, cycles, repairs. */
  | { readonly kind: 'system'; readonly part: string }
  /** A person or key that belongs to one organization; `permissions` is what its role allows there. */
  | { readonly kind: 'member'; readonly id: string; readonly orgId: string; readonly permissions: ReadonlySet<Permission> };

/** What a role may hold inside an organization, and `operator` for everything above organizations. */
export const PERMISSIONS = [
  'operator',
  'credits.read',
  'credits.redeem',
  'limits.read',
  'limits.manage',
  'logs.read',
  'meter.write',
  'tokens.read',
  'tokens.manage',
  'org.read',
  'usage.read',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

export type Decision = 'allowed' | 'forbidden' | 'foreign';

/** `foreign`: this organization is none of the actor's business, so it must look as if it were not there. */
export function decide(actor: Actor, permission: Permission, orgId: string | null): Decision {
  switch (actor.kind) {
    case 'operator':
    case 'system':
      return 'allowed';
    case 'member':
      if (orgId !== null && orgId !== actor.orgId) return 'foreign';
      return permission !== 'operator' && actor.permissions.has(permission) ? 'allowed' : 'forbidden';
    default:
      return unreachable(actor);
  }
}

/** What an actor may pass on to others: nobody gives a role that allows more than they may themselves. */
export function heldBy(actor: Actor): readonly string[] {
  return actor.kind === 'member' ? [...actor.permissions] : ROLE_PERMISSIONS;
}

/** The actor as the audit log writes it. */
export function nameOf(actor: Actor): string {
  switch (actor.kind) {
    case 'operator':
      return 'operator';
    case 'system':
      return `system:${actor.part}`;
    case 'member':
      return `member:${actor.id}`;
    default:
      return unreachable(actor);
  }
}
