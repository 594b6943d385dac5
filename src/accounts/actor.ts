import { unreachable } from '../domain/refusal.js';
import { SCOPES, type Scope } from './keys/scopes.js';
import { type OperatorRole, PERMISSIONS, type Permission } from './roles/permissions.js';
import { type OrgRule, RULES, type Rule, type RuleName } from './roles/rules.js';

/** Who asks for a change. Every verb takes one, and every change names it in the audit log. */
export type Actor =
  | Operator
  /** The server itself: first start, cycles, repairs. */
  | { readonly kind: 'system'; readonly part: string }
  | Person
  | KeyActor;

/** An operator key: the one of the data folder, which may everything, or one that was made later, with a role. */
export interface Operator {
  readonly kind: 'operator';
  readonly key?: { readonly id: string; readonly role: OperatorRole };
}

export interface Person {
  readonly kind: 'person';
  /** `usr_…` */
  readonly id: string;
  /** The organization this call is about, if the person belongs to it; `permissions` is what the role allows there. */
  readonly orgId: string | null;
  readonly permissions: ReadonlySet<Permission>;
  readonly operatorRole: OperatorRole | null;
  /** Gave a password or one-time code a short while ago. */
  readonly isProved: boolean;
}

/** A management key: of one organization, whoever made it. */
export interface KeyActor {
  readonly kind: 'key';
  /** `key_…` */
  readonly id: string;
  readonly orgId: string;
  readonly scopes: ReadonlySet<Scope>;
}

export type Decision =
  | { readonly kind: 'allowed'; readonly reach: Reach }
  | { readonly kind: 'forbidden'; readonly missing: Missing }
  /** This organization is none of the actor's business, so it must look as if it were not there. */
  | { readonly kind: 'foreign' }
  /** No credential of this kind can do that. */
  | { readonly kind: 'wrong_credential' };

/** `ownerId`: only what concerns tokens of this person; null = everything there is. */
export interface Reach {
  readonly ownerId: string | null;
}

export type Missing = { readonly permission: string } | { readonly scope: Scope };

const EVERYTHING: Decision = { kind: 'allowed', reach: { ownerId: null } };
const FOREIGN: Decision = { kind: 'foreign' };
const WRONG_CREDENTIAL: Decision = { kind: 'wrong_credential' };

const without = (permission: string): Decision => ({ kind: 'forbidden', missing: { permission } });

export function decide(actor: Actor, name: RuleName, orgId: string | null): Decision {
  const rule: Rule = RULES[name];
  switch (actor.kind) {
    case 'system':
      return EVERYTHING;
    case 'operator':
      return decideOperator(actor, rule, name);
    case 'person':
      if (rule.kind === 'session') return EVERYTHING;
      if (rule.kind === 'org') return decidePerson(actor, rule, orgId);
      return isOneOf(actor.operatorRole, rule.roles) ? EVERYTHING : without(name);
    case 'key':
      return rule.kind === 'org' ? decideKey(actor, rule, orgId) : WRONG_CREDENTIAL;
    default:
      return unreachable(actor);
  }
}

function decideOperator({ key }: Operator, rule: Rule, name: RuleName): Decision {
  if (rule.kind === 'session' || (rule.kind === 'org' && rule.personal)) return WRONG_CREDENTIAL;
  if (!key) return EVERYTHING;
  // A key that was made makes no keys: what it might leave behind would outlive it.
  if (rule.kind === 'operators') return rule.unmade ? WRONG_CREDENTIAL : isOneOf(key.role, rule.roles) ? EVERYTHING : without(name);
  return isOneOf(key.role, ['operator.admin', ...rule.operators]) ? EVERYTHING : without('operator.admin');
}

function decidePerson(actor: Person, rule: OrgRule, orgId: string | null): Decision {
  if (!rule.personal && isOneOf(actor.operatorRole, ['operator.admin', ...rule.operators])) return EVERYTHING;
  const isMember = orgId !== null && actor.orgId === orgId;
  if (!isMember) return actor.operatorRole === null || rule.personal ? FOREIGN : without('operator.admin');
  const { permissions, id } = actor;
  if (rule.any.length === 0 || rule.any.some((one) => permissions.has(one))) return EVERYTHING;
  if (rule.own && permissions.has(rule.own)) return { kind: 'allowed', reach: { ownerId: id } };
  return without(rule.any[0] ?? '');
}

function decideKey(actor: KeyActor, rule: OrgRule, orgId: string | null): Decision {
  if (orgId !== actor.orgId) return FOREIGN;
  if (rule.scopes === null) return WRONG_CREDENTIAL;
  const scope = rule.scopes.find((one) => !actor.scopes.has(one));
  return scope === undefined ? EVERYTHING : { kind: 'forbidden', missing: { scope } };
}

const isOneOf = (role: OperatorRole | null, roles: readonly OperatorRole[]): boolean => role !== null && roles.includes(role);

/** What an actor may pass on to others: nobody gives a role or a key that allows more than they may themselves. */
export function heldBy(actor: Actor): readonly Permission[] {
  switch (actor.kind) {
    case 'system':
      return PERMISSIONS;
    case 'operator':
      return actor.key === undefined || actor.key.role === 'operator.admin' ? PERMISSIONS : [];
    case 'person':
      return actor.operatorRole === 'operator.admin' ? PERMISSIONS : withOwn([...actor.permissions]);
    case 'key':
      return withOwn([...actor.scopes].filter((scope) => !scope.endsWith(':read') || READS.has(scope)).flatMap((scope) => SCOPES[scope]));
    default:
      return unreachable(actor);
  }
}

/** Scopes for reading that stand for a permission to read; the others stand for more than they allow. */
const READS: ReadonlySet<Scope> = new Set(['usage:read', 'logs:read', 'balance:read', 'payments:read']);

/** Whoever may do it to everything may do it to their own. */
function withOwn(permissions: readonly Permission[]): readonly Permission[] {
  const held = new Set(permissions);
  for (const one of permissions) {
    const own = PERMISSIONS.find((other) => other === `${one}_own`);
    if (own) held.add(own);
  }
  return [...held];
}

/** People show now and then that it is still them; keys and the server have nothing else to show. */
export const isProved = (actor: Actor): boolean => actor.kind !== 'person' || actor.isProved;

/** The actor as the audit log writes it. */
export function nameOf(actor: Actor): string {
  switch (actor.kind) {
    case 'operator':
      return actor.key === undefined ? 'operator' : `operator:${actor.key.id}`;
    case 'system':
      return `system:${actor.part}`;
    case 'person':
      return `person:${actor.id}`;
    case 'key':
      return `key:${actor.id}`;
    default:
      return unreachable(actor);
  }
}
