import type { Scope } from '../../src/accounts/keys/scopes.js';
import { PERMISSIONS, type Permission } from '../../src/accounts/roles/permissions.js';

// Written by hand, from the specification and not from the code: what the code does is held against it, and docs/roles.md
// shows the same.

export const PRESETS: Readonly<Record<string, readonly Permission[]>> = {
  owner: [...PERMISSIONS],
  admin: PERMISSIONS.filter((one) => one !== 'org.delete'),
  billing: ['usage.read', 'credits.read', 'credits.purchase', 'credits.redeem', 'payments.read', 'limits.manage', 'plan.manage'],
  developer: ['tokens.manage_own', 'usage.read_own', 'logs.read_own', 'credits.read'],
  viewer: ['usage.read', 'logs.read', 'credits.read'],
};

/**
 * Route · people · management keys · people of the operator · further demands.
 *
 * People: `public`, `session`, `self` (a member, about themselves), `-` (nobody of an organization), `*` (every member) or permissions: `a | b` any of them,
 * `a & b` both, `own: c` for what concerns tokens of one's own. Keys: `-` none, `*` any, or all of the scopes named.
 * Operators: A(dmin), S(upport), F(inance). Demands: `proof`, `key` (Idempotency-Key), `etag` (takes If-Match).
 */
const TABLE = `
POST   /api/v1/auth/sign-up                                 · public · - · - ·
POST   /api/v1/auth/email/verify                            · public · - · - ·
POST   /api/v1/auth/email/resend                            · public · - · - ·
POST   /api/v1/auth/sign-in                                 · public · - · - ·
POST   /api/v1/auth/sign-out                                · public · - · - ·
POST   /api/v1/auth/sign-out-everywhere                     · session · - · - ·
POST   /api/v1/auth/confirm                                 · session · - · - ·
GET    /api/v1/auth/session                                 · public · - · - ·
GET    /api/v1/auth/sessions                                · session · - · - ·
DELETE /api/v1/auth/sessions/{session}                      · session · - · - ·
POST   /api/v1/auth/password/forgot                         · public · - · - ·
POST   /api/v1/auth/password/reset                          · public · - · - ·
POST   /api/v1/auth/password/change                         · session · - · - ·
POST   /api/v1/auth/totp/enroll                             · session · - · - ·
POST   /api/v1/auth/totp/verify                             · public · - · - ·
POST   /api/v1/auth/totp/backup-code                        · public · - · - ·
POST   /api/v1/auth/totp/backup-codes                       · session · - · - ·
POST   /api/v1/auth/totp/disable                            · session · - · - ·
POST   /api/v1/auth/oauth/{provider}                        · public · - · - ·
GET    /api/v1/auth/callback/{provider}                     · public · - · - ·
POST   /api/v1/auth/setup                                   · public · - · - ·
POST   /api/v1/auth/invitation/look                         · public · - · - ·
POST   /api/v1/auth/invitation/accept                       · session · - · - ·
GET    /api/v1/me                                           · session · - · - ·
PATCH  /api/v1/me                                           · session · - · - ·
DELETE /api/v1/me                                           · session · - · - · proof
POST   /api/v1/auth/email/change                            · session · - · - · proof
POST   /api/v1/auth/email/confirm                           · public · - · - ·

POST   /api/v1/orgs                                         · session · - · - ·
GET    /api/v1/orgs/{org}                                   · * · * · ASF ·
PATCH  /api/v1/orgs/{org}                                   · org.manage · - · A · etag
DELETE /api/v1/orgs/{org}                                   · org.delete · - · A · proof
GET    /api/v1/orgs/{org}/audit                             · org.manage · - · ASF ·
GET    /api/v1/orgs/{org}/balance                           · credits.read · balance:read · ASF ·
GET    /api/v1/orgs/{org}/statement                         · credits.read · balance:read · ASF ·
GET    /api/v1/orgs/{org}/reconciliation                    · credits.read · balance:read · ASF ·
GET    /api/v1/orgs/{org}/grants                            · credits.read · balance:read · ASF ·
GET    /api/v1/orgs/{org}/events                            · credits.read · balance:read · ASF ·
POST   /api/v1/orgs/{org}/redemptions                       · credits.redeem · topups:write · A · key
POST   /api/v1/orgs/{org}/meter-events                      · tokens.manage · meter:write · A · key
GET    /api/v1/orgs/{org}/limits                            · credits.read | limits.manage · limits:read · ASF ·
PUT    /api/v1/orgs/{org}/limits                            · limits.manage · limits:write · A · etag
GET    /api/v1/orgs/{org}/limits/history                    · credits.read | limits.manage · limits:read · ASF ·
POST   /api/v1/orgs/{org}/tokens                            · tokens.manage | tokens.manage_own · tokens:write · A · key
GET    /api/v1/orgs/{org}/tokens                            · tokens.manage own: tokens.manage_own · tokens:read · ASF ·
GET    /api/v1/orgs/{org}/tokens/{token}                    · tokens.manage own: tokens.manage_own · tokens:read · ASF ·
PATCH  /api/v1/orgs/{org}/tokens/{token}                    · tokens.manage own: tokens.manage_own · tokens:write · A · etag
DELETE /api/v1/orgs/{org}/tokens/{token}                    · tokens.manage own: tokens.manage_own · tokens:write · A ·
POST   /api/v1/orgs/{org}/tokens/{token}/pause              · tokens.manage own: tokens.manage_own · tokens:write · A ·
POST   /api/v1/orgs/{org}/tokens/{token}/resume             · tokens.manage own: tokens.manage_own · tokens:write · A ·
POST   /api/v1/orgs/{org}/tokens/{token}/rotate             · tokens.manage own: tokens.manage_own · tokens:write · A ·
POST   /api/v1/orgs/{org}/tokens/{token}/quota              · tokens.manage own: tokens.manage_own · tokens:write · A · etag
GET    /api/v1/orgs/{org}/logs                              · logs.read own: logs.read_own · logs:read · ASF ·
GET    /api/v1/orgs/{org}/logs/export                       · logs.read own: logs.read_own · logs:read · ASF ·
GET    /api/v1/orgs/{org}/logs/{request_id}                 · logs.read own: logs.read_own · logs:read · ASF ·
GET    /api/v1/orgs/{org}/usage                             · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/usage/monthly                     · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/usage/history                     · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/usage/days/{date}                 · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/usage/forecast                    · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/usage/export                      · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/overview                          · usage.read own: usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/pricing                           · usage.read | usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/models                            · usage.read | usage.read_own · usage:read · ASF ·
GET    /api/v1/pricing/public                               · public · - · - ·
POST   /api/v1/orgs/{org}/pricing/estimate                  · usage.read | usage.read_own · usage:read · ASF ·
GET    /api/v1/orgs/{org}/management-keys                   · org.manage · - · A ·
POST   /api/v1/orgs/{org}/management-keys                   · org.manage · - · A · proof
GET    /api/v1/orgs/{org}/management-keys/{key}             · org.manage · - · A ·
PATCH  /api/v1/orgs/{org}/management-keys/{key}             · org.manage · - · A · proof
DELETE /api/v1/orgs/{org}/management-keys/{key}             · org.manage · - · A ·
POST   /api/v1/orgs/{org}/management-keys/{key}/rotate      · org.manage · - · A · proof
GET    /api/v1/orgs/{org}/two-factor                        · org.manage · - · A ·
PUT    /api/v1/orgs/{org}/two-factor                        · org.manage · - · A · proof
GET    /api/v1/orgs/{org}/members                           · members.manage · members:read · ASF ·
GET    /api/v1/orgs/{org}/members/{person}                  · members.manage · members:read · ASF ·
PATCH  /api/v1/orgs/{org}/members/{person}                  · members.manage · members:write · A · etag
DELETE /api/v1/orgs/{org}/members/{person}                  · members.manage · members:write · A ·
POST   /api/v1/orgs/{org}/leave                             · self · - · - ·
GET    /api/v1/orgs/{org}/invites                           · members.manage · members:read · ASF ·
POST   /api/v1/orgs/{org}/invites                           · members.manage · members:write · A ·
POST   /api/v1/orgs/{org}/invites/{invite}/resend           · members.manage · members:write · AS ·
DELETE /api/v1/orgs/{org}/invites/{invite}                  · members.manage · members:write · A ·
GET    /api/v1/orgs/{org}/roles                             · members.manage · members:read · ASF ·
POST   /api/v1/orgs/{org}/roles                             · members.manage · members:write · A ·
GET    /api/v1/orgs/{org}/roles/{role}                      · members.manage · members:read · ASF ·
PATCH  /api/v1/orgs/{org}/roles/{role}                      · members.manage · members:write · A · etag
DELETE /api/v1/orgs/{org}/roles/{role}                      · members.manage · members:write · A ·

GET    /api/v1/admin/orgs                                   · - · - · ASF ·
POST   /api/v1/admin/orgs                                   · - · - · A ·
GET    /api/v1/admin/orgs/{org}                             · - · - · ASF ·
PATCH  /api/v1/admin/orgs/{org}                             · - · - · A · etag
POST   /api/v1/admin/orgs/{org}/grants                      · - · - · AF · proof key
POST   /api/v1/admin/orgs/{org}/deductions                  · - · - · AF · proof key
GET    /api/v1/admin/orgs/{org}/ledger                      · - · - · ASF ·
GET    /api/v1/admin/orgs/{org}/ledger/export               · - · - · ASF ·
GET    /api/v1/admin/orgs/{org}/ledger/{transaction}        · - · - · ASF ·
GET    /api/v1/admin/orgs/{org}/grants/{grant}/charges      · - · - · ASF ·
GET    /api/v1/admin/code-batches                           · - · - · ASF ·
POST   /api/v1/admin/code-batches                           · - · - · AF · proof key
GET    /api/v1/admin/code-batches/{batch}                   · - · - · ASF ·
POST   /api/v1/admin/code-batches/{batch}/disable           · - · - · AF ·
GET    /api/v1/admin/code-batches/{batch}/redemptions       · - · - · ASF ·
GET    /api/v1/admin/code-batches/{batch}/codes             · - · - · ASF ·
POST   /api/v1/admin/code-batches/{batch}/codes/{code}/disable · - · - · AF ·
GET    /api/v1/admin/prices                                 · - · - · ASF ·
GET    /api/v1/admin/prices/versions                        · - · - · ASF ·
GET    /api/v1/admin/prices/versions/{version}              · - · - · ASF ·
POST   /api/v1/admin/prices/check                           · - · - · ASF ·
GET    /api/v1/admin/providers                              · - · - · ASF ·
GET    /api/v1/admin/providers/{provider}                   · - · - · ASF ·
GET    /api/v1/admin/health                                 · - · - · ASF ·
GET    /api/v1/admin/ledger                                 · - · - · ASF ·
GET    /api/v1/admin/lookup                                 · - · - · ASF ·
GET    /api/v1/admin/overview                               · - · - · ASF ·
GET    /api/v1/admin/reconciliation                         · - · - · AF ·
GET    /api/v1/admin/set-aside                              · - · - · ASF ·
POST   /api/v1/admin/set-aside/{aside}/book                 · - · - · AF ·
POST   /api/v1/admin/set-aside/{aside}/drop                 · - · - · AF · proof
GET    /api/v1/admin/operator-keys                          · - · - · A ·
POST   /api/v1/admin/operator-keys                          · - · - · A · proof
GET    /api/v1/admin/operator-keys/{operator_key}           · - · - · A ·
POST   /api/v1/admin/operator-keys/{operator_key}/rotate    · - · - · A · proof
DELETE /api/v1/admin/operator-keys/{operator_key}           · - · - · A ·
GET    /api/v1/admin/audit/export                           · - · - · ASF ·
GET    /api/v1/admin/audit/verify                           · - · - · ASF ·
GET    /api/v1/admin/audit                                  · - · - · ASF ·
GET    /api/v1/admin/users                                  · - · - · ASF ·
GET    /api/v1/admin/users/{person}                         · - · - · ASF ·
PATCH  /api/v1/admin/users/{person}                         · - · - · A · proof
POST   /api/v1/admin/users/{person}/sign-out                · - · - · AS ·
POST   /api/v1/admin/users/{person}/resend-verification     · - · - · AS ·
POST   /api/v1/admin/users/{person}/reset-two-factor        · - · - · A · proof
`;

export interface Row {
  readonly method: string;
  readonly path: string;
  readonly people: string;
  readonly keys: string;
  readonly operators: string;
  readonly demands: ReadonlySet<string>;
  /** About one organization, as far as members and keys are concerned. */
  readonly ofOrg: boolean;
}

export const ROWS: readonly Row[] = TABLE.split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => {
    const [route = '', people = '', keys = '', operators = '', demands = ''] = line.split('·').map((cell) => cell.trim());
    const [method = '', path = ''] = route.split(/ +/);
    const named = demands.split(' ').filter((one) => one !== '');
    return { method, path, people, keys, operators, demands: new Set(named), ofOrg: path.startsWith('/api/v1/orgs/{org}') };
  });

/** What somebody with these permissions may do there: everything, what is their own, or nothing. */
export function allows({ people }: Row, permissions: readonly Permission[]): 'all' | 'own' | 'no' {
  if (people === 'public' || people === 'session' || people === 'self' || people === '*') return 'all';
  const holds = (text: string): boolean => text.split(' | ').some((one) => permissions.includes(one as Permission));
  const [full = '', own] = people.split(' own: ');
  const [main = '', ...also] = full.split(' & ');
  if (also.some((one) => !holds(one))) return 'no';
  if (holds(main)) return 'all';
  return own !== undefined && holds(own) ? 'own' : 'no';
}

export function allowsKey({ keys }: Row, scopes: readonly Scope[]): boolean {
  return keys === '*' || (keys !== '-' && keys.split(' ').every((one) => scopes.includes(one as Scope)));
}

export const allowsOperator = ({ people, operators }: Row, letter: string): boolean =>
  people === 'public' || people === 'session' || operators.includes(letter);

const OPERATORS: Readonly<Record<string, string>> = { A: 'admin', S: 'support', F: 'finance' };
const DEMANDS: Readonly<Record<string, string>> = { proof: 'proof', key: '`Idempotency-Key`', etag: '`If-Match`' };

/** The same as Markdown, for docs/roles.md. */
export function rendered(): { readonly presets: string; readonly routes: string } {
  const names = Object.keys(PRESETS);
  const code = (text: string): string => (/[.:]/.test(text) ? text.replaceAll(/[a-z]+[.:][a-z_]+/g, '`$&`') : text);
  const mark = (permission: Permission): string[] => names.map((name) => (PRESETS[name]?.includes(permission) ? '✓' : ''));
  const title = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
  const presets = [
    ['permission', ...names.map(title)],
    ['---', ...names.map(() => ':-:')],
    ...PERMISSIONS.map((one) => [`\`${one}\``, ...mark(one)]),
  ];
  const words: Readonly<Record<string, string>> = {
    public: 'anybody',
    session: 'whoever is signed in',
    self: 'every member, for themselves',
    '*': 'every member',
    '-': '',
  };
  const routes = [
    ['route', 'people', 'management keys', 'people of the operator', 'also'],
    ['---', '---', '---', '---', '---'],
    ...ROWS.map(({ method, path, people, keys, operators, demands }) => [
      `\`${method} ${path}\``,
      (words[people] ?? code(people)).replaceAll(' | ', ' or ').replaceAll(' & ', ' and ').replace(' own: ', ', for their own '),
      keys === '*' ? 'any' : keys === '-' ? '' : code(keys),
      [...operators].flatMap((one) => OPERATORS[one] ?? []).join(', '),
      [...demands].map((one) => DEMANDS[one] ?? one).join(', '),
    ]),
  ];
  const table = (lines: readonly (readonly string[])[]): string =>
    lines.map((cells) => `| ${cells.join(' | ')} |`.replaceAll(/\| {2}(?=\|)/g, '| ')).join('\n');
  return { presets: table(presets), routes: table(routes) };
}
