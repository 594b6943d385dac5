import { expect } from 'vitest';
import type { Rig } from '../../api/harness.js';
import { type mailbox, openBrowser } from './browser.js';
import { codeOf } from './totp.js';

const FIRST = 'a first long password';
const SECOND = 'quite another password';

/** The whole life of an account, on whatever database the rig has. */
export async function livesThrough(rig: Rig, mail: ReturnType<typeof mailbox>, email: string): Promise<void> {
  const here = openBrowser(rig.app, { agent: 'Laptop' });
  const made = await here.send('POST', '/api/v1/auth/sign-up', { email, password: FIRST, name: 'Ada', organization_name: 'Engines' });
  expect(made.status, JSON.stringify(made.body)).toBe(202);
  expect(made.body).toEqual({ status: 'accepted', next: 'verify_email' });
  expect((await here.send('POST', '/api/v1/auth/sign-in', { email, password: FIRST })).body['code']).toBe('email_not_verified');
  expect((await here.send('POST', '/api/v1/auth/email/verify', { token: mail.link(email) })).body).toEqual({ status: 'verified' });

  expect((await here.send('POST', '/api/v1/auth/sign-in', { email, password: FIRST })).body).toEqual({ status: 'signed_in' });
  const me = await here.send('GET', '/api/v1/me');
  expect(me.body).toMatchObject({
    email,
    name: 'Ada',
    two_factor: false,
    email_verified: true,
    organizations: [{ name: 'Engines', role: { id: 'owner' } }],
  });
  const org = String(me.body['home_org_id']);
  const balance = await here.send('GET', `/api/v1/orgs/${org}/balance`);
  expect(balance.body).toMatchObject({ available: { credits: '100' } });

  const secret = await switchesSecondFactorOn(rig, here, email);
  const there = openBrowser(rig.app, { agent: 'Phone' });
  const halfway = await there.send('POST', '/api/v1/auth/sign-in', { email, password: FIRST });
  expect(halfway.body).toEqual({ status: 'second_factor', methods: ['totp', 'backup_code'] });
  expect((await there.send('GET', '/api/v1/me')).status).toBe(401);
  expect((await there.send('POST', '/api/v1/auth/totp/verify', { code: '000000' })).status).toBe(401);
  expect((await there.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) })).body).toEqual({ status: 'signed_in' });
  expect(mail.mails.at(-1)).toMatchObject({ kind: 'new_sign_in', to: email, device: 'Phone' });

  const listed = await there.send('GET', '/api/v1/auth/sessions');
  expect(listed.body['data']).toHaveLength(2);
  expect((await there.send('POST', '/api/v1/auth/sign-out-everywhere', { keep_this: false })).body).toEqual({ ended: 2 });
  expect((await here.send('GET', '/api/v1/me')).status).toBe(401);
  expect((await there.send('GET', '/api/v1/me')).status).toBe(401);
  expect(there.cookies.has('farebox_session')).toBe(false);

  expect((await here.send('POST', '/api/v1/auth/password/forgot', { email })).body).toEqual({ status: 'accepted' });
  const token = mail.link(email);
  expect((await here.send('POST', '/api/v1/auth/password/reset', { token, password: SECOND })).body).toEqual({ status: 'reset' });
  expect((await here.send('POST', '/api/v1/auth/password/reset', { token, password: FIRST })).body['code']).toBe('link_over');
  expect((await here.send('POST', '/api/v1/auth/sign-in', { email, password: FIRST })).body['code']).toBe('sign_in_failed');
  // Whoever reads the mail still needs the second factor.
  expect((await here.send('POST', '/api/v1/auth/sign-in', { email, password: SECOND })).body['status']).toBe('second_factor');
}

async function switchesSecondFactorOn(rig: Rig, here: ReturnType<typeof openBrowser>, email: string): Promise<string> {
  expect((await here.send('POST', '/api/v1/auth/totp/enroll', { password: SECOND })).body['code']).toBe('not_right');
  const enrolled = await here.send('POST', '/api/v1/auth/totp/enroll', { password: FIRST });
  expect(enrolled.status, JSON.stringify(enrolled.body)).toBe(200);
  const secret = String(enrolled.body['secret']);
  expect(enrolled.body['uri']).toContain(`otpauth://totp/Farebox:${encodeURIComponent(email)}`);
  expect(enrolled.body['backup_codes']).toHaveLength(10);
  expect((await here.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret, Date.now() - 600_000) })).status).toBe(401);
  expect((await here.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) })).body).toEqual({ status: 'two_factor_on' });
  expect((await here.send('GET', '/api/v1/me')).body['two_factor']).toBe(true);
  const kept = await rig.db.query<{ secret: string; verified: boolean }>('select secret, verified from two_factors');
  expect(kept.every((row) => row.verified && !row.secret.includes(secret))).toBe(true);
  return secret;
}
