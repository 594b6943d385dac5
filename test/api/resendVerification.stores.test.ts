import { expect, test } from 'vitest';
import { PASSWORD } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { useApi } from './harness.js';

const mail = mailbox(true);
const api = useApi({ people: { mailer: mail } });

test('support sends the link again, to the address alone, five times an hour and never without need', async () => {
  const email = 'late@example.com';
  await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD });
  const made = await api.call('POST', '/api/v1/admin/operator-keys', { name: 'desk', role: 'operator.support' });
  const as = { authorization: `Bearer ${String(made.body['secret'])}` };
  const found = await api.call('GET', `/api/v1/admin/users?email=${email}`, undefined, as);
  const id = (found.body['data'] as unknown as { id: string }[])[0]?.id ?? '';
  const path = `/api/v1/admin/users/${id}/resend-verification`;
  const sent = await api.call('POST', path, undefined, as);
  expect([sent.status, sent.body]).toEqual([200, { sent: true }]);
  const token = mail.link(email);
  expect(sent.text).not.toContain(token);
  expect((await openBrowser(api.app).send('POST', '/api/v1/auth/email/verify', { token })).body).toEqual({ status: 'verified' });
  const mails = mail.mails.length;
  const again: number[] = [];
  for (let n = 0; n < 5; n++) again.push((await api.call('POST', path, undefined, as)).status);
  expect(again).toEqual([200, 200, 200, 200, 429]);
  expect(mail.mails.length, 'confirmed already').toBe(mails);
  const lines = await api.call('GET', '/api/v1/admin/audit?action=person.resend_verification');
  expect(lines.body['data']).toMatchObject([{ actor: `operator:${String(made.body['id'])}`, subject: id }]);
});
