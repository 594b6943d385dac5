import { expect, test } from 'vitest';
import { forgetTries, PASSWORD } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { useApi } from './harness.js';

const mail = mailbox(true);
const api = useApi({ people: { mailer: mail } });

async function desk(role: string): Promise<{ id: string; as: Record<string, string> }> {
  const made = await api.call('POST', '/api/v1/admin/operator-keys', { name: role, role });
  return { id: String(made.body['id']), as: { authorization: `Bearer ${String(made.body['secret'])}` } };
}

async function invited(email: string): Promise<{ org: string; path: string }> {
  const org = await api.org();
  const sent = await api.call('POST', `/api/v1/orgs/${org}/invites`, { emails: [email], role_id: 'viewer' });
  const [one] = sent.body['data'] as unknown as { id: string }[];
  return { org, path: `/api/v1/orgs/${org}/invites/${one?.id}` };
}

test('200: support sends an invitation again; the link goes to the address alone and works, the old one does not', async () => {
  const email = 'guest@example.com';
  const { org, path } = await invited(email);
  const old = mail.link(email);
  const support = await desk('operator.support');
  const listed = await api.call('GET', `/api/v1/orgs/${org}/invites`, undefined, support.as);
  expect(listed.body['data']).toMatchObject([{ email }]);
  const sent = await api.call('POST', `${path}/resend`, undefined, support.as);
  expect([sent.status, sent.body['link']], sent.text).toEqual([200, null]);
  const fresh = mail.link(email);
  expect(fresh).not.toBe(old);
  expect(sent.text).not.toContain(fresh);
  const look = (token: string) => openBrowser(api.app).send('POST', '/api/v1/auth/invitation/look', { token });
  expect((await look(old)).body['code']).toBe('link_over');
  expect((await look(fresh)).body).toMatchObject({ email, role: 'Viewer' });
  const signedUp = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD, invitation: fresh });
  expect(signedUp.status).toBe(202);
  const lines = await api.call('GET', `/api/v1/admin/audit?action=invitation.resend&org_id=${org}`);
  expect(lines.body['data']).toMatchObject([{ actor: `operator:${support.id}`, details: { email } }]);
});

test('429 with Retry-After: five times an hour, whoever asks', async () => {
  await forgetTries(api);
  const { path } = await invited('slow@example.com');
  const support = await desk('operator.support');
  const answers: number[] = [];
  for (let n = 0; n < 5; n++) answers.push((await api.call('POST', `${path}/resend`, undefined, n % 2 ? support.as : {})).status);
  expect(answers).toEqual([200, 200, 200, 200, 200]);
  const mails = mail.mails.length;
  const late = await api.call('POST', `${path}/resend`, undefined, support.as);
  expect([late.status, Number(late.headers.get('retry-after')) > 0]).toEqual([429, true]);
  expect(mail.mails.length).toBe(mails);
});

test('403: support neither invites nor takes back, and finance does not send again', async () => {
  const { org, path } = await invited('other@example.com');
  const [support, finance] = [await desk('operator.support'), await desk('operator.finance')];
  const invite = await api.call('POST', `/api/v1/orgs/${org}/invites`, { emails: ['x@example.com'], role_id: 'viewer' }, support.as);
  expect(invite.status).toBe(403);
  expect((await api.call('DELETE', path, undefined, support.as)).status).toBe(403);
  expect((await api.call('POST', `${path}/resend`, undefined, finance.as)).status).toBe(403);
});
