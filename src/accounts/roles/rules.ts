import type { Scope } from '../keys/scopes.js';
import { OPERATOR_ROLES, type OperatorRole, type Permission } from './permissions.js';

/** Who may use a route. Every route names one of these; there is no default. */
export type Rule =
  /** Whoever is signed in, about themselves. */
  | { readonly kind: 'session' }
  /** The operator key, people who are `operator.admin`, and those with one of these roles. */
  | {
      readonly kind: 'operators';
      readonly roles: readonly OperatorRole[];
      /** Not for operator keys that were made here, whatever their role. */
      readonly unmade?: true;
    }
  | OrgRule;

/** Inside the organization that the path names. The operator key and `operator.admin` may always. */
export interface OrgRule {
  readonly kind: 'org';
  /** Members with any of these; `[]`: every member. */
  readonly any: readonly Permission[];
  /** Members with this one, as far as it concerns tokens of their own. */
  readonly own?: Permission;
  /** Management keys with all of these; null: no key. */
  readonly scopes: readonly Scope[] | null;
  /** About the member who asks; nobody can do that for them. */
  readonly personal?: true;
  /** Further people of the operator. */
  readonly operators: readonly OperatorRole[];
}

const EVERY_OPERATOR = OPERATOR_ROLES;
const NO_OTHER_OPERATOR: readonly OperatorRole[] = [];

const org = (rule: Omit<OrgRule, 'kind'>): OrgRule => ({ kind: 'org', ...rule });

export const RULES = {
  session: { kind: 'session' },
  'operator.any': { kind: 'operators', roles: EVERY_OPERATOR },
  'operator.admin': { kind: 'operators', roles: ['operator.admin'] },
  'operator.keys': { kind: 'operators', roles: ['operator.admin'], unmade: true },
  'operator.support': { kind: 'operators', roles: ['operator.admin', 'operator.support'] },
  'operator.finance': { kind: 'operators', roles: ['operator.admin', 'operator.finance'] },

  'org.read': org({ any: [], scopes: [], operators: EVERY_OPERATOR }),
  'org.leave': org({ any: [], scopes: null, personal: true, operators: NO_OTHER_OPERATOR }),
  'org.manage': org({ any: ['org.manage'], scopes: null, operators: NO_OTHER_OPERATOR }),
  'org.delete': org({ any: ['org.delete'], scopes: null, operators: NO_OTHER_OPERATOR }),
  'audit.read': org({ any: ['org.manage'], scopes: null, operators: EVERY_OPERATOR }),
  'usage.read': org({ any: ['usage.read'], own: 'usage.read_own', scopes: ['usage:read'], operators: EVERY_OPERATOR }),
  'overview.read': org({ any: ['usage.read'], own: 'usage.read_own', scopes: ['usage:read'], operators: EVERY_OPERATOR }),
  'pricing.read': org({ any: ['usage.read', 'usage.read_own'], scopes: ['usage:read'], operators: EVERY_OPERATOR }),
  'logs.read': org({ any: ['logs.read'], own: 'logs.read_own', scopes: ['logs:read'], operators: EVERY_OPERATOR }),
  'tokens.read': org({ any: ['tokens.manage'], own: 'tokens.manage_own', scopes: ['tokens:read'], operators: EVERY_OPERATOR }),
  'tokens.write': org({ any: ['tokens.manage'], own: 'tokens.manage_own', scopes: ['tokens:write'], operators: NO_OTHER_OPERATOR }),
  'meter.write': org({ any: ['tokens.manage'], scopes: ['meter:write'], operators: NO_OTHER_OPERATOR }),
  'credits.read': org({ any: ['credits.read'], scopes: ['balance:read'], operators: EVERY_OPERATOR }),
  'credits.redeem': org({ any: ['credits.redeem'], scopes: ['topups:write'], operators: NO_OTHER_OPERATOR }),
  'limits.read': org({ any: ['credits.read', 'limits.manage'], scopes: ['limits:read'], operators: EVERY_OPERATOR }),
  'limits.write': org({ any: ['limits.manage'], scopes: ['limits:write'], operators: NO_OTHER_OPERATOR }),
  'members.read': org({ any: ['members.manage'], scopes: ['members:read'], operators: EVERY_OPERATOR }),
  'invites.resend': org({ any: ['members.manage'], scopes: ['members:write'], operators: ['operator.support'] }),
  'members.write': org({ any: ['members.manage'], scopes: ['members:write'], operators: NO_OTHER_OPERATOR }),
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleName = keyof typeof RULES;
