import { beforeEach, expect, test } from 'vitest';
import { compose } from '../../src/mail/compose.js';
import { forgetTries, PASSWORD, person } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { managementKey } from './cast.js';
import { pointers, useApi } from './harness.js';

// Attacks that no other test is about; docs/attacks.md has all of them.

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
beforeEach(() => forgetTries(api));

test('A13: links in mails start with the configured address, whatever a request says it asked for', async () => {
  const { email } = await person(api, 'ada@example.com');
  const foreign = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    forwarded: 'host=evil.example',
  };
  const browser = openBrowser(api.app, { origin: 'http://evil.example' });
  expect((await browser.send('POST', '/api/v1/auth/password/forgot', { email }, foreign)).status).toBe(202);
  expect(mail.mails.at(-1)).toMatchObject({ kind: 'reset', link: expect.stringMatching(/^http:\/\/farebox\.test\/reset-password#token=/) });
});

test('A15: what nobody may say about themselves is refused by name, at sign-up and later', async () => {
  const bold = { role: 'admin', operator_role: 'operator.admin', email_verified: true, balance: 1e9, org_id: 'org_07Ab12Cd34Ef56Gh' };
  const made = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { email: 'eve@example.com', password: PASSWORD, ...bold });
  expect(made.status).toBe(400);
  expect(await api.db.one("select 1 as one from people where email = 'eve@example.com'")).toBeUndefined();
  const { browser, personId } = await person(api, 'grace@example.com');
  expect((await browser.send('PATCH', '/api/v1/me', { name: 'Grace', ...bold })).status).toBe(400);
  const row = await api.db.one('select operator_role, email_verified, name from people where person_id = $1', [personId]);
  expect(row).toEqual({ operator_role: null, email_verified: false, name: 'grace' });
});

test('A16: nobody makes a key for somebody else, and the library behind sign-in has no routes of its own', async () => {
  const org = await api.org();
  for (const path of [`/api/v1/orgs/${org}/tokens`, `/api/v1/orgs/${org}/management-keys`, '/api/v1/admin/operator-keys']) {
    const reply = await api.call('POST', path, { name: 'x', userId: 'usr_0', owner_id: 'usr_0' }, { authorization: '' });
    expect([reply.status, reply.body['code']], path).toEqual([401, 'unauthorized']);
  }
  for (const path of ['/api/auth/sign-up/email', '/api/v1/auth/api-key/create', '/api/v1/auth/sign-up/email', '/api/auth/get-session'])
    expect((await api.call('POST', path, { userId: 'usr_0' }, { authorization: '' })).status, path).toBe(404);
});

test('A19: a path that only looks like one of the operator opens nothing', async () => {
  const org = await api.org();
  const { as } = await managementKey(api, org, 'members:write');
  const spelled = [
    '//api/v1/admin/users',
    '/api%2fv1%2fadmin%2fusers',
    '/API/v1/ADMIN/users',
    '/api/v1/./admin/users',
    '/api/v1/x/../admin/users',
  ];
  for (const path of [
    ...spelled,
    '/api/v1//admin/users',
    '/api/v1/admin/users/',
    '/api/v1/admin/users.',
    '/api/v1/admin/users;x',
    '/api/v1/admin%2fusers',
  ])
    for (const headers of [{ authorization: '' }, as]) {
      const response = await api.app.request(`http://farebox.test${path}`, { headers });
      expect([401, 403, 404], `${path} ${response.status}`).toContain(response.status);
    }
});

test('T10: wildcards and escapes in a search are letters, however many', async () => {
  await person(api, 'wild_card@example.com');
  const found = async (email: string) => {
    const reply = await api.call('GET', `/api/v1/admin/users?email=${encodeURIComponent(email)}`);
    return (reply.body['data'] as unknown as { email: string }[] | undefined)?.map((one) => one.email);
  };
  expect([await found('%'), await found('\\'), await found('%'.repeat(200))]).toEqual([[], [], []]);
  expect(await found('d_c')).toEqual(['wild_card@example.com']);
  expect((await api.call('GET', `/api/v1/admin/users?email=${'%25'.repeat(300)}`)).status).toBe(400);
});

test('T11: what is grouped and sorted by is one of a list, never a text of somebody’s', async () => {
  const org = await api.org();
  for (const bad of ['id; drop table people', '"x" desc nulls first', '1)', 'pg_sleep(5)', 'model"', '__proto__', 'constructor']) {
    const reply = await api.call('GET', `/api/v1/orgs/${org}/usage?group_by=${encodeURIComponent(bad)}`);
    expect([reply.status, pointers(reply).join().includes('group_by')], bad).toEqual([400, true]);
    expect(reply.text).not.toMatch(/syntax|column|relation/i);
  }
});

test('W1: a page that somebody wrote into a name is text wherever it is answered, in files and in mails', async () => {
  const evil = '<img src=x onerror=alert(1)>';
  const org = await api.org(evil);
  await api.token(org, { name: evil, project: evil, agent_id: evil });
  const paths = [
    `/api/v1/orgs/${org}`,
    `/api/v1/orgs/${org}/tokens`,
    `/api/v1/admin/orgs?q=${encodeURIComponent(evil)}`,
    `/api/v1/admin/audit`,
  ];
  for (const path of paths) {
    const reply = await api.call('GET', path);
    expect([reply.status, reply.headers.get('content-type')?.split(';')[0]], path).toEqual([200, 'application/json']);
    expect(reply.headers.get('x-content-type-options'), path).toBe('nosniff');
    expect(reply.headers.get('content-security-policy'), path).toMatch(/^default-src 'none'/);
    expect(JSON.stringify(reply.body), path).toContain(evil);
  }
  const refused = await api.call('GET', `/api/v1/orgs/${org}/usage?group_by=${encodeURIComponent(evil)}`);
  expect([refused.status, refused.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
  await api.call('POST', `/api/v1/orgs/${org}/invites`, { emails: ['w1@example.com'], role_id: 'viewer' });
  const letter = mail.mails.at(-1);
  expect(letter).toMatchObject({ kind: 'invitation', organization: evil });
  const { html } = compose(letter as never, 'Farebox');
  expect(html).not.toContain(evil);
  expect(html).toContain('&lt;img src=x onerror=alert(1)&gt;');
});
