/** What a role may hold inside an organization. `…_own`: only what concerns tokens of one's own. */
export const PERMISSIONS = [
  'usage.read',
  'usage.read_own',
  'logs.read',
  'logs.read_own',
  'tokens.manage',
  'tokens.manage_own',
  'credits.read',
  'credits.purchase',
  'credits.redeem',
  'payments.read',
  'limits.manage',
  'plan.manage',
  'members.manage',
  'webhooks.manage',
  'org.manage',
  'org.delete',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** People of the house that runs this server; each /api/v1/admin route names which of them may. */
export const OPERATOR_ROLES = ['operator.admin', 'operator.support', 'operator.finance'] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];
