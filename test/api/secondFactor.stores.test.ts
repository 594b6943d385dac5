import { beforeEach, describe, expect, test } from 'vitest';
import { forgetTries, PASSWORD, person, signsIn } from '../accounts/people/accounts.js';
import { type Browser, mailbox, openBrowser } from '../accounts/people/browser.js';
import { codeOf } from '../accounts/people/totp.js';
import { useApi } from './harness.js';

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
beforeEach(() => forgetTries(api));

let people = 0;
const address = () => `ada.${++people}@example.com`;
const signIn = (browser: Browser, email: string) => browser.send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD });

describe('the second factor', () => {
  async function withSecondFactor() {
    const someone = await person(api, address());
    const enrolled = await someone.browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD });
    const secret = String(enrolled.body['secret']);
    await someone.browser.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) });
    await forgetTries(api);
    return { ...someone, secret, codes: enrolled.body['backup_codes'] as string[] };
  }

  test('a secret that was never confirmed asks nobody for a code', async () => {
    const { browser, email } = await person(api, address());
    await browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD });
    await signsIn(openBrowser(api.app), email);
    expect((await browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD })).status).toBe(200);
  });

  test('a backup code signs in once; new ones make the old worthless', async () => {
    const { browser, email, codes } = await withSecondFactor();
    const use = async (code: string) => {
      const other = openBrowser(api.app);
      await signIn(other, email);
      return other.send('POST', '/api/v1/auth/totp/backup-code', { code });
    };
    expect((await use(codes[0] ?? '')).body).toEqual({ status: 'signed_in' });
    expect((await use(codes[0] ?? '')).status).toBe(401);
    const renewed = await browser.send('POST', '/api/v1/auth/totp/backup-codes', { password: PASSWORD });
    expect((await use(codes[1] ?? '')).status).toBe(401);
    expect((await use((renewed.body['backup_codes'] as string[])[0] ?? '')).body).toEqual({ status: 'signed_in' });
  });

  test('a code opens one session: whoever looked over a shoulder is too late', async () => {
    const { email, secret } = await withSecondFactor();
    const use = async (code: string) => {
      const other = openBrowser(api.app);
      await signIn(other, email);
      return other.send('POST', '/api/v1/auth/totp/verify', { code });
    };
    const [now, next] = [codeOf(secret), codeOf(secret, Date.now() + 30_000)];
    expect((await use(now)).status).toBe(200);
    expect((await use(now)).status).toBe(401);
    expect((await use(next)).status).toBe(200);
    expect(
      await api.db.one('select count(*)::int as sessions from sessions join people using (person_id) where email = $1', [email]),
    ).toEqual({ sessions: 3 });
  });

  test('five wrong codes end the try, ten lock the way for a quarter of an hour', async () => {
    const { email, secret } = await withSecondFactor();
    const guess = async (times: number) => {
      const other = openBrowser(api.app);
      await signIn(other, email);
      let last = { status: 0, body: {} as Record<string, unknown> };
      for (let i = 0; i < times; i++) last = await other.send('POST', '/api/v1/auth/totp/verify', { code: '000000' });
      return { last, right: await other.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) }) };
    };
    const first = await guess(6);
    expect([first.last.body['code'], first.right.body['code']]).toEqual(['password_first', 'password_first']);
    await guess(6);
    const locked = await guess(0);
    expect(locked.right.status).toBe(429);
    expect(locked.right.headers.get('retry-after')).toBe('900');
  });

  test('switching it off takes the password, says so by mail, and forgets the secret', async () => {
    const { browser, email, personId } = await withSecondFactor();
    expect((await browser.send('POST', '/api/v1/auth/totp/disable', {})).status).toBe(401);
    expect((await browser.send('POST', '/api/v1/auth/totp/disable', { password: PASSWORD })).body).toEqual({ status: 'two_factor_off' });
    expect(mail.mails.at(-1)).toMatchObject({ kind: 'two_factor_off', to: email });
    expect(await api.db.query('select 1 from two_factors where person_id = $1', [personId])).toEqual([]);
    await signsIn(openBrowser(api.app), email);
  });
});
