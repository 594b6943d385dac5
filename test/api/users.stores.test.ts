import { beforeEach, expect, test } from 'vitest';
import { tidyPeople } from '../../src/accounts/people/administer.js';
import { forgetTries, PASSWORD, person, signsIn } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { codeOf } from '../accounts/people/totp.js';
import { useApi } from './harness.js';

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
beforeEach(() => forgetTries(api));

let people = 0;
const address = () => `user.${++people}@example.com`;

test('people are listed newest first, page by page, and found by a part of their address', async () => {
  const made = [await person(api, address()), await person(api, address()), await person(api, address())];
  const first = await api.call('GET', '/api/v1/admin/users?limit=2');
  expect(first.status, first.text).toBe(200);
  const rest = await api.call('GET', `/api/v1/admin/users?limit=2&cursor=${first.body['next_cursor']}`);
  const ids = [first, rest].flatMap((page) => (page.body['data'] as unknown as { id: string }[]).map(({ id }) => id));
  expect(ids).toEqual(made.map(({ personId }) => personId).reverse());
  const found = await api.call('GET', `/api/v1/admin/users?email=${made[1]?.email.slice(0, 8).toUpperCase()}`);
  expect(found.body['data']).toMatchObject([{ id: made[1]?.personId, organizations: [{ id: made[1]?.homeOrgId, role: 'owner' }] }]);
  expect(first.text).not.toMatch(/scrypt|digest|secret/);
  const [one, two] = made.map(({ personId }) => personId);
  await api.call('PATCH', `/api/v1/admin/users/${one}`, { disabled: true });
  await api.call('PATCH', `/api/v1/admin/users/${two}`, { operator_role: 'operator.support' });
  await api.db.query('update people set two_factor = true where person_id = $1', [made[2]?.personId ?? '']);
  const idsOf = async (query: string) =>
    ((await api.call('GET', `/api/v1/admin/users?${query}`)).body['data'] as unknown as { id: string }[]).map(({ id }) => id);
  expect([await idsOf('status=disabled'), await idsOf('operator_role=operator.support')]).toEqual([[one], [two]]);
  expect(await idsOf('status=active&operator_role=none&two_factor=true')).toEqual([made[2]?.personId]);
  expect(await idsOf('status=active&operator_role=none&two_factor=false')).toEqual([]);
});

test('who is disabled is out with the next call, and may come back', async () => {
  const { browser, email, personId } = await person(api, address());
  const at = `/api/v1/admin/users/${personId}`;
  expect((await api.call('PATCH', at, { disabled: true })).body['disabled_at']).not.toBe(null);
  expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  expect((await browser.send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD })).body['code']).toBe('account_disabled');
  await browser.send('POST', '/api/v1/auth/password/forgot', { email });
  expect(mail.mails.filter((one) => one.to === email)).toEqual([]);
  expect((await api.call('PATCH', at, { disabled: false })).body['disabled_at']).toBe(null);
  await signsIn(browser, email);
});

test('whoever becomes an operator signs in anew, and can do what the role says', async () => {
  const { browser, email, personId } = await person(api, address());
  await api.call('PATCH', `/api/v1/admin/users/${personId}`, { operator_role: 'operator.support' });
  expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  await signsIn(browser, email);
  expect((await browser.send('GET', '/api/v1/admin/users')).status).toBe(200);
  expect((await browser.send('PATCH', `/api/v1/admin/users/${personId}`, { operator_role: 'operator.admin' })).status).toBe(403);
  await api.call('PATCH', `/api/v1/admin/users/${personId}`, { operator_role: null });
  await signsIn(browser, email);
  expect((await browser.send('GET', '/api/v1/admin/users')).status).toBe(403);
});

test('sessions end and second factors are reset in the name of whoever did it', async () => {
  const { browser, email, personId } = await person(api, address());
  const enrolled = await browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD });
  await browser.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(String(enrolled.body['secret'])) });
  const at = `/api/v1/admin/users/${personId}`;
  expect((await api.call('POST', `${at}/sign-out`)).body).toEqual({ ended: 1 });
  expect((await api.call('POST', `${at}/reset-two-factor`)).body).toEqual({ reset: true });
  expect((await api.call('POST', `${at}/reset-two-factor`)).body).toEqual({ reset: false });
  expect(mail.mails.at(-1)).toMatchObject({ kind: 'two_factor_off', to: email });
  await signsIn(browser, email);
  const rows = await api.db.query('select action, actor from audit_log where subject = $1 and actor = $2 order by id', [
    personId,
    'operator',
  ]);
  expect(rows).toEqual([
    { action: 'session.end', actor: 'operator' },
    { action: 'person.two_factor_off', actor: 'operator' },
  ]);
});

test('404: nobody', async () => {
  const at = '/api/v1/admin/users/usr_019ab0f4c2d87c3ea1b2c3d4e5f60718';
  const asked = [
    ['GET', at],
    ['PATCH', at],
    ['POST', `${at}/sign-out`],
    ['POST', `${at}/reset-two-factor`],
  ] as const;
  for (const [method, path] of asked) expect((await api.call(method, path, method === 'PATCH' ? {} : undefined)).status, path).toBe(404);
});

test('what has had its time is taken away, and nothing else', async () => {
  const { browser, email } = await person(api, address());
  const other = openBrowser(api.app);
  await signsIn(other, email);
  await browser.send('POST', '/api/v1/auth/password/forgot', { email });
  const count = () =>
    api.db.one(
      `select (select count(*) from sessions)::int as sessions, (select count(*) from person_links)::int as links,
         (select count(*) from auth_attempts)::int as attempts`,
    );
  const before = await count();
  await tidyPeople(api);
  expect(await count()).toEqual(before);
  await api.db.query("update sessions set expires_at = now() - interval '2 days'");
  await api.db.query("update person_links set expires_at = now() - interval '8 days'");
  await api.db.query("update auth_attempts set until = now() - interval '2 hours'");
  await tidyPeople(api);
  expect(await count()).toEqual({ sessions: 0, links: 0, attempts: 0 });
});
