import { beforeAll, beforeEach, expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { forgetTries, PASSWORD, person, type SignedInPerson, signsIn } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { codeOf } from '../accounts/people/totp.js';
import { useApi } from './harness.js';
import { requestOf } from './requests.js';
import { ROWS } from './roleTable.js';

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
beforeEach(() => forgetTries(api));

let org = '';
/** With the address and the password they have in the end. */
let owner: SignedInPerson & { readonly password: string };
let guest: SignedInPerson;
/** What one call made and a later one needs. */
const made = new Map<string, string>();
const the = (name: string): string => made.get(name) ?? `nothing was kept as ${name}`;

type Sent = Promise<{ readonly status: number; readonly body: { readonly [name: string]: unknown } }>;

const op = (method: string, path: string, body?: unknown): Sent => api.call(method, `/api/v1${path}`, body);
const mine = (method: string, path: string, body?: unknown): Sent =>
  owner.browser.send(method, `/api/v1${path}`, body, { 'idempotency-key': newRequestId() });
const inOrg = (method: string, path: string, body?: unknown): Sent => op(method, `/orgs/${org}${path}`, body);
const link = (path: string, email: string, more: object = {}): Sent =>
  openBrowser(api.app).send('POST', `/api/v1${path}`, { token: mail.link(email), ...more });

async function kept(name: string, sent: Sent, pick = (body: Awaited<Sent>['body']): unknown => body['id']): Sent {
  const reply = await sent;
  made.set(name, String(pick(reply.body)));
  return reply;
}

const tokenOf = (body: Awaited<Sent>['body']): string => {
  const [first] = body['data'] as { link: string; id: string }[];
  return String(first?.link).split('#token=')[1] ?? '';
};

const signedInElsewhere = async () => {
  const browser = openBrowser(api.app);
  await signsIn(browser, owner.email, owner.password);
  return browser;
};

const codeOfBatch = (body: Awaited<Sent>['body']): unknown => (body['codes'] as string[])[0];
const NEWCOMER = 'new@example.com';
const member = { email: 'owner@example.com', password: PASSWORD };

/** Route · what its line in the audit log says was done · a call that succeeds. In this order, each on what those before have made. */
const ACTS: readonly (readonly [route: string, action: string, act: () => Sent])[] = [
  [
    'POST /api/v1/auth/sign-up',
    'person.create',
    async () => {
      const reply = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { ...member, email: NEWCOMER });
      const row = await api.db.one<{ id: string }>('select person_id as id from people where email = $1', [NEWCOMER]);
      made.set('newcomer', row?.id ?? '');
      return reply;
    },
  ],
  ['POST /api/v1/auth/sign-in', 'session.create', () => openBrowser(api.app).send('POST', '/api/v1/auth/sign-in', member)],
  ['POST /api/v1/auth/confirm', 'session.confirm', () => mine('POST', '/auth/confirm', { password: PASSWORD })],
  ['PATCH /api/v1/me', 'person.update', () => mine('PATCH', '/me', { name: 'Ada' })],
  [
    'POST /api/v1/auth/password/change',
    'person.password_change',
    () => mine('POST', '/auth/password/change', { current_password: PASSWORD, password: `${PASSWORD}!` }),
  ],
  ['POST /api/v1/auth/password/forgot', 'person.reset_asked', () => mine('POST', '/auth/password/forgot', { email: 'guest@example.com' })],
  [
    'POST /api/v1/auth/password/reset',
    'person.password_reset',
    () => link('/auth/password/reset', 'guest@example.com', { password: PASSWORD }),
  ],
  ['POST /api/v1/auth/email/change', 'person.email_asked', () => mine('POST', '/auth/email/change', { email: 'moved@example.com' })],
  [
    'POST /api/v1/auth/email/confirm',
    'person.email_change',
    () => mine('POST', '/auth/email/confirm', { token: mail.link('moved@example.com') }),
  ],
  [
    'POST /api/v1/auth/totp/verify',
    'person.two_factor_on',
    async () => {
      const enrolled = await mine('POST', '/auth/totp/enroll', { password: `${PASSWORD}!` });
      return mine('POST', '/auth/totp/verify', { code: codeOf(String(enrolled.body['secret'])) });
    },
  ],
  [
    'POST /api/v1/auth/totp/backup-codes',
    'person.backup_codes_renewed',
    () => mine('POST', '/auth/totp/backup-codes', { password: `${PASSWORD}!` }),
  ],
  ['POST /api/v1/auth/totp/disable', 'person.two_factor_off', () => mine('POST', '/auth/totp/disable', { password: `${PASSWORD}!` })],

  ['POST /api/v1/admin/orgs', 'org.create', () => kept('org', op('POST', '/admin/orgs', { name: 'Made' }))],
  ['PATCH /api/v1/admin/orgs/{org}', 'org.update', () => op('PATCH', `/admin/orgs/${org}`, { name: 'Named' })],
  ['PATCH /api/v1/orgs/{org}', 'org.update', () => inOrg('PATCH', '', { name: 'Named again' })],
  ['POST /api/v1/orgs', 'org.create', () => mine('POST', '/orgs', { name: 'My own' })],
  [
    'POST /api/v1/admin/orgs/{org}/grants',
    'grant.create',
    () => op('POST', `/admin/orgs/${org}/grants`, { credits: 10, reason: 'a test' }),
  ],
  [
    'POST /api/v1/admin/orgs/{org}/deductions',
    'credits.deduct',
    () => op('POST', `/admin/orgs/${org}/deductions`, { credits: 1, reason: 'a test' }),
  ],
  ['PUT /api/v1/orgs/{org}/limits', 'limits.update', () => inOrg('PUT', '/limits', { allowed_limit: 10 })],

  ['POST /api/v1/orgs/{org}/tokens', 'token.create', () => kept('token', inOrg('POST', '/tokens', { name: 'app' }))],
  ['PATCH /api/v1/orgs/{org}/tokens/{token}', 'token.update', () => inOrg('PATCH', `/tokens/${the('token')}`, { name: 'other' })],
  [
    'POST /api/v1/orgs/{org}/tokens/{token}/quota',
    'token.update',
    () => inOrg('POST', `/tokens/${the('token')}/quota`, { op: 'set', amount: 1 }),
  ],
  ['POST /api/v1/orgs/{org}/tokens/{token}/pause', 'token.pause', () => inOrg('POST', `/tokens/${the('token')}/pause`)],
  ['POST /api/v1/orgs/{org}/tokens/{token}/resume', 'token.resume', () => inOrg('POST', `/tokens/${the('token')}/resume`)],
  ['POST /api/v1/orgs/{org}/tokens/{token}/rotate', 'token.rotate', () => inOrg('POST', `/tokens/${the('token')}/rotate`, {})],
  ['DELETE /api/v1/orgs/{org}/tokens/{token}', 'token.revoke', () => inOrg('DELETE', `/tokens/${the('token')}`)],

  [
    'POST /api/v1/orgs/{org}/management-keys',
    'key.create',
    () => kept('key', inOrg('POST', '/management-keys', { name: 'ci', scopes: ['logs:read'] })),
  ],
  ['PATCH /api/v1/orgs/{org}/management-keys/{key}', 'key.update', () => inOrg('PATCH', `/management-keys/${the('key')}`, { name: 'cd' })],
  ['POST /api/v1/orgs/{org}/management-keys/{key}/rotate', 'key.rotate', () => inOrg('POST', `/management-keys/${the('key')}/rotate`, {})],
  ['DELETE /api/v1/orgs/{org}/management-keys/{key}', 'key.revoke', () => inOrg('DELETE', `/management-keys/${the('key')}`)],

  ['POST /api/v1/orgs/{org}/roles', 'role.create', () => kept('role', inOrg('POST', '/roles', { name: 'Ops', permissions: [] }))],
  ['PATCH /api/v1/orgs/{org}/roles/{role}', 'role.update', () => inOrg('PATCH', `/roles/${the('role')}`, { name: 'Opera' })],
  ['DELETE /api/v1/orgs/{org}/roles/{role}', 'role.delete', () => inOrg('DELETE', `/roles/${the('role')}`)],

  [
    'POST /api/v1/orgs/{org}/invites',
    'invitation.send',
    async () => {
      const path = `/orgs/${owner.homeOrgId}/invites`;
      await kept(
        'invite',
        mine('POST', path, { emails: ['somebody@example.com'], role_id: 'viewer' }),
        (body) => (body['data'] as { id: string }[])[0]?.id,
      );
      return kept('invitation', mine('POST', path, { emails: [guest.email], role_id: 'viewer' }), tokenOf);
    },
  ],
  [
    'POST /api/v1/orgs/{org}/invites/{invite}/resend',
    'invitation.resend',
    () => mine('POST', `/orgs/${owner.homeOrgId}/invites/${the('invite')}/resend`),
  ],
  [
    'DELETE /api/v1/orgs/{org}/invites/{invite}',
    'invitation.revoke',
    () => mine('DELETE', `/orgs/${owner.homeOrgId}/invites/${the('invite')}`),
  ],
  [
    'POST /api/v1/auth/invitation/accept',
    'member.add',
    async () => {
      await signsIn(guest.browser, guest.email);
      return guest.browser.send('POST', '/api/v1/auth/invitation/accept', { token: the('invitation') });
    },
  ],
  [
    'PATCH /api/v1/orgs/{org}/members/{person}',
    'member.change_role',
    () => op('PATCH', `/orgs/${owner.homeOrgId}/members/${guest.personId}`, { role_id: 'admin' }),
  ],
  [
    'POST /api/v1/orgs/{org}/leave',
    'member.remove',
    () => guest.browser.send('POST', `/api/v1/orgs/${owner.homeOrgId}/leave`, { tokens: 'keep' }),
  ],
  [
    'DELETE /api/v1/orgs/{org}/members/{person}',
    'member.remove',
    async () => {
      await api.db.query("insert into org_members (org_id, person_id, role_id) values ($1, $2, 'viewer')", [
        owner.homeOrgId,
        guest.personId,
      ]);
      return op('DELETE', `/orgs/${owner.homeOrgId}/members/${guest.personId}?tokens=keep`);
    },
  ],
  ['PUT /api/v1/orgs/{org}/two-factor', 'org.two_factor', () => inOrg('PUT', '/two-factor', { required: true })],

  [
    'POST /api/v1/admin/code-batches',
    'codes.create',
    async () => {
      const batch = await op('POST', '/admin/code-batches', { name: 'fair', credits: 1, count: 2 });
      made.set('code', String(codeOfBatch(batch.body)));
      return kept('batch', Promise.resolve(batch));
    },
  ],
  [
    'POST /api/v1/admin/code-batches/{batch}/codes/{code}/disable',
    'code.disable',
    async () => {
      const codes = (await op('GET', `/admin/code-batches/${the('batch')}/codes`)).body['data'] as { id: string; last_four: string }[];
      const unused = codes.find(({ last_four }) => !the('code').endsWith(last_four));
      return op('POST', `/admin/code-batches/${the('batch')}/codes/${unused?.id}/disable`);
    },
  ],
  ['POST /api/v1/orgs/{org}/redemptions', 'code.redeem', () => inOrg('POST', '/redemptions', { code: the('code') })],
  ['POST /api/v1/admin/code-batches/{batch}/disable', 'codes.disable', () => op('POST', `/admin/code-batches/${the('batch')}/disable`)],

  [
    'POST /api/v1/admin/operator-keys',
    'operator_key.create',
    () => kept('operator key', op('POST', '/admin/operator-keys', { name: 'desk', role: 'operator.support' })),
  ],
  [
    'POST /api/v1/admin/operator-keys/{operator_key}/rotate',
    'operator_key.rotate',
    () => op('POST', `/admin/operator-keys/${the('operator key')}/rotate`, {}),
  ],
  [
    'DELETE /api/v1/admin/operator-keys/{operator_key}',
    'operator_key.revoke',
    () => op('DELETE', `/admin/operator-keys/${the('operator key')}`),
  ],
  [
    'PATCH /api/v1/admin/users/{person}',
    'person.administer',
    () => op('PATCH', `/admin/users/${guest.personId}`, { operator_role: 'operator.support' }),
  ],
  [
    'POST /api/v1/admin/users/{person}/resend-verification',
    'person.resend_verification',
    () => op('POST', `/admin/users/${the('newcomer')}/resend-verification`),
  ],
  [
    'POST /api/v1/admin/users/{person}/sign-out',
    'session.end',
    async () => {
      await signsIn(guest.browser, guest.email);
      return op('POST', `/admin/users/${guest.personId}/sign-out`);
    },
  ],
  [
    'POST /api/v1/admin/set-aside/{aside}/drop',
    'aside.dropped',
    async () => {
      const row = await api.db.one<{ id: number }>(
        `insert into poison_rows (org_id, event, error) values ($1, '{}', 'a test') returning id`,
        [org],
      );
      return op('POST', `/admin/set-aside/aside_${row?.id}/drop`, { reason: 'a test' });
    },
  ],
  ['POST /api/v1/auth/email/verify', 'person.verify_email', () => link('/auth/email/verify', NEWCOMER)],
  [
    'POST /api/v1/admin/users/{person}/reset-two-factor',
    'person.two_factor_off',
    async () => {
      await api.db.query('update people set two_factor = true where person_id = $1', [guest.personId]);
      return op('POST', `/admin/users/${guest.personId}/reset-two-factor`);
    },
  ],
  ['POST /api/v1/auth/sign-out', 'session.end', async () => (await signedInElsewhere()).send('POST', '/api/v1/auth/sign-out')],
  [
    'DELETE /api/v1/auth/sessions/{session}',
    'session.end',
    async () => {
      const browser = await signedInElsewhere();
      const sessions = (await browser.send('GET', '/api/v1/auth/sessions')).body['data'] as { id: string; current: boolean }[];
      return browser.send('DELETE', `/api/v1/auth/sessions/${sessions.find(({ current }) => current)?.id}`);
    },
  ],
  [
    'POST /api/v1/auth/sign-out-everywhere',
    'session.end',
    async () => {
      const browser = await signedInElsewhere();
      return browser.send('POST', '/api/v1/auth/sign-out-everywhere', { keep_this: false });
    },
  ],
  [
    'POST /api/v1/admin/set-aside/{aside}/book',
    'aside.booked',
    async () => {
      const { id } = await api.token(org);
      const event = requestOf({ org, token: id, atMs: Date.now() });
      const row = await api.db.one<{ id: number }>(
        `insert into poison_rows (org_id, request_id, event, error) values ($1, $2, $3, 'a test') returning id`,
        [event.org_id, event.request_id, JSON.stringify(event)],
      );
      return op('POST', `/admin/set-aside/aside_${row?.id}/book`);
    },
  ],
  ['DELETE /api/v1/orgs/{org}', 'org.close', () => op('DELETE', `/orgs/${the('org')}`)],
  [
    'DELETE /api/v1/me',
    'person.delete',
    async () => {
      await signsIn(guest.browser, guest.email);
      return guest.browser.send('DELETE', '/api/v1/me?credits=forfeit');
    },
  ],
];

/** Routes that leave no line when they succeed, or whose line another test shows; and why. */
const OTHERS: Readonly<Record<string, string>> = {
  'POST /api/v1/auth/invitation/look': 'changes nothing',
  'POST /api/v1/orgs/{org}/pricing/estimate': 'changes nothing',
  'POST /api/v1/admin/prices/check': 'changes nothing',
  'POST /api/v1/auth/email/resend': 'changes nothing: a link that was sent is sent again',
  'POST /api/v1/auth/oauth/{provider}': 'changes nothing before the person is back',
  'POST /api/v1/auth/totp/enroll': 'changes nothing before the first code is right',
  'POST /api/v1/auth/totp/backup-code': 'the second half of signing in, which leaves its line',
  'POST /api/v1/auth/setup': 'only before there is an operator; the line is that of the account it makes',
  'POST /api/v1/orgs/{org}/meter-events': 'each event is a row of the usage log, with who sent it',
};

beforeAll(async () => {
  org = await api.org('Audited');
  owner = { ...(await person(api, 'owner@example.com')), email: 'moved@example.com', password: `${PASSWORD}!` };
  guest = await person(api, 'guest@example.com');
});

test('every route that is there and changes something is called here, or said why not', () => {
  const there = ROWS.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`);
  const here = [...ACTS.map(([route]) => route), ...Object.keys(OTHERS)];
  expect(
    there.filter((route) => !here.includes(route)),
    'without a call',
  ).toEqual([]);
  expect(
    here.filter((route) => !there.includes(route)),
    'gone',
  ).toEqual([]);
});

test.each(ACTS)('%s leaves the line %s', async (_route, action, act) => {
  const last = await api.db.one<{ id: number }>('select coalesce(max(id), 0) as id from audit_log');
  const reply = await act();
  expect(reply.status, JSON.stringify(reply.body)).toBeLessThan(300);
  const lines = await api.db.query<{ action: string; actor: string }>('select action, actor from audit_log where id > $1 order by id', [
    last?.id ?? 0,
  ]);
  expect(lines.map((line) => line.action)).toContain(action);
  for (const { actor } of lines) expect(actor).toMatch(/^(?:operator|person:usr_[0-9a-f]+|system:[a-z-]+)$/);
});
