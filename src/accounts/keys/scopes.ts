import type { Permission } from '../roles/permissions.js';

/** What a management key may do, and which permissions of a role that stands for: nobody makes a key that may do more than they. */
export const SCOPES = {
  'usage:read': ['usage.read'],
  'logs:read': ['logs.read'],
  'tokens:read': ['tokens.manage'],
  'tokens:write': ['tokens.manage'],
  'balance:read': ['credits.read'],
  'topups:write': ['credits.purchase', 'credits.redeem'],
  'payments:read': ['payments.read'],
  'limits:read': ['credits.read'],
  'limits:write': ['limits.manage'],
  'plan:read': ['plan.manage'],
  'plan:write': ['plan.manage'],
  'members:read': ['members.manage'],
  'members:write': ['members.manage'],
  'webhooks:write': ['webhooks.manage'],
  'meter:write': ['tokens.manage'],
} as const satisfies Readonly<Record<string, readonly Permission[]>>;

export type Scope = keyof typeof SCOPES;

export const SCOPE_NAMES = Object.keys(SCOPES) as [Scope, ...Scope[]];
