import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProviderSettings } from '../../src/domain/settings.js';
import { forgetTries, PASSWORD } from '../accounts/people/accounts.js';
import { type Browser, type BrowserReply, mailbox, ORIGIN, openBrowser } from '../accounts/people/browser.js';
import { type Claims, type House, openHouse } from '../accounts/people/house.js';
import { codeOf } from '../accounts/people/totp.js';
import { useApi } from './harness.js';

let house: House;
const settings = { issuer: '' };
const provider = (id: string, label: string): ProviderSettings => ({
  ...{ id, label, clientId: 'farebox', clientSecret: 'secret', scopes: ['openid', 'email', 'profile'] },
  ...{ authorizeUrl: null, tokenUrl: null, userInfoUrl: null, trustEmail: false },
  get issuer() {
    return settings.issuer;
  },
});
const mail = mailbox(true);
const signUp = { enabled: true, trialCredits: 100, trialDays: 30, allowedDomains: ['example.com'] };
const api = useApi({ people: { providers: [provider('acme', 'Acme'), provider('beta', 'Beta')], mailer: mail, signUp } });

beforeAll(async () => {
  house = await openHouse();
  settings.issuer = house.issuer;
});
afterAll(() => house.close());
beforeEach(async () => {
  house.misbehave(null);
  await forgetTries(api);
});

/** Goes to the other house and comes back with what it says. */
async function through(browser: Browser, claims: Claims, returnTo = '/o/x'): Promise<BrowserReply> {
  const gone = await browser.send('POST', '/api/v1/auth/oauth/acme', { return_to: returnTo });
  expect(gone.status, JSON.stringify(gone.body)).toBe(200);
  const back = new URLSearchParams(house.visit(String(gone.body['url']), claims));
  return browser.send('GET', `/api/v1/auth/callback/acme?${back}`);
}

const ada: Claims = { sub: 'ada-there', email: 'Ada@example.com', email_verified: true, name: 'Ada Lovelace' };
const whyNot = (reply: BrowserReply): string | null => new URL(reply.headers.get('location') ?? ORIGIN).searchParams.get('error');

test('a new person comes through, has an organization with trial credits, and is the same person the next time', async () => {
  const browser = openBrowser(api.app);
  const back = await through(browser, ada);
  expect([back.status, back.headers.get('location')]).toEqual([302, `${ORIGIN}/o/x`]);
  const me = await browser.send('GET', '/api/v1/me');
  expect(me.body).toMatchObject({
    email: 'ada@example.com',
    name: 'Ada Lovelace',
    email_verified: true,
    has_password: false,
    providers: ['acme'],
  });
  const balance = await browser.send('GET', `/api/v1/orgs/${me.body['home_org_id']}/balance`);
  expect(balance.body).toMatchObject({ available: { credits: '100' } });
  const again = openBrowser(api.app);
  await through(again, { ...ada, email: 'changed@example.com' });
  expect((await again.send('GET', '/api/v1/me')).body['id']).toBe(me.body['id']);
  const kept = await api.db.query('select access_token, refresh_token, id_token from logins');
  expect(kept).toEqual([{ access_token: null, refresh_token: null, id_token: null }]);
});

test('an address the other house has not checked, a foreign domain and a closed door let nobody in', async () => {
  const refused = async (claims: Claims) => {
    const browser = openBrowser(api.app);
    const why = whyNot(await through(browser, claims));
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
    return why;
  };
  expect(await refused({ sub: 'x1', email: 'eve@example.com', email_verified: false })).toBe('email_not_verified');
  expect(await refused({ sub: 'x2', email: 'eve@example.com' })).toBe('email_not_verified');
  expect(await refused({ sub: 'x3', email: 'eve@other.example', email_verified: true })).toBe('domain_not_allowed');
  signUp.enabled = false;
  expect(await refused({ sub: 'x4', email: 'late@example.com', email_verified: true })).toBe('sign_up_closed');
  signUp.enabled = true;
  expect(await api.db.query("select email from people where email like 'eve%' or email like 'late%'")).toEqual([]);
});

test('whoever is invited comes in through a closed door, because the other house has checked the address', async () => {
  signUp.enabled = false;
  const org = await api.org();
  await api.call('POST', `/api/v1/orgs/${org}/invites`, { emails: ['guest@other.example'], role_id: 'viewer' });
  const browser = openBrowser(api.app);
  await through(browser, { sub: 'guest', email: 'guest@other.example', email_verified: true });
  const token = mail.link('guest@other.example');
  expect((await browser.send('POST', '/api/v1/auth/invitation/accept', { token })).body).toEqual({ org_id: org });
  signUp.enabled = true;
});

test('an account whose address nobody has proven here is not handed over', async () => {
  const browser = openBrowser(api.app);
  await browser.send('POST', '/api/v1/auth/sign-up', { email: 'victim@example.com', password: PASSWORD });
  const other = openBrowser(api.app);
  expect(whyNot(await through(other, { sub: 'v', email: 'victim@example.com', email_verified: true }))).toBe('account_not_linked');
  await browser.send('POST', '/api/v1/auth/email/verify', { token: mail.link('victim@example.com') });
  expect(whyNot(await through(other, { sub: 'v', email: 'victim@example.com', email_verified: true }))).toBe(null);
  expect((await other.send('GET', '/api/v1/me')).body).toMatchObject({
    email: 'victim@example.com',
    has_password: true,
    providers: ['acme'],
  });
});

test('an identity signed by somebody else, or made for another sign-in, is none', async () => {
  for (const how of ['wrong_key', 'wrong_nonce'] as const) {
    house.misbehave(how);
    const browser = openBrowser(api.app);
    expect(whyNot(await through(browser, ada)), how).toBe('unable_to_get_user_info');
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  }
});

test('the way back works in the browser that left, once', async () => {
  const [mine, theirs] = [openBrowser(api.app), openBrowser(api.app)];
  const gone = await mine.send('POST', '/api/v1/auth/oauth/acme', {});
  const back = new URLSearchParams(house.visit(String(gone.body['url']), ada));
  expect(whyNot(await theirs.send('GET', `/api/v1/auth/callback/acme?${back}`))).toBe('state_mismatch');
  expect((await theirs.send('GET', '/api/v1/me')).status).toBe(401);
  expect(whyNot(await mine.send('GET', '/api/v1/auth/callback/acme?code=x&state=y'))).toBe('state_mismatch');
  expect(whyNot(await mine.send('GET', `/api/v1/auth/callback/acme?${back}`))).toBe(null);
  expect(whyNot(await mine.send('GET', `/api/v1/auth/callback/acme?${back}`))).toBe('state_mismatch');
});

test('a second factor is asked for after another house as well', async () => {
  const browser = openBrowser(api.app);
  await through(browser, ada);
  const enrolled = await browser.send('POST', '/api/v1/auth/totp/enroll', {});
  const secret = String(enrolled.body['secret']);
  expect((await browser.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) })).body).toEqual({ status: 'two_factor_on' });
  const other = openBrowser(api.app);
  const back = await through(other, ada);
  expect(back.headers.get('location')).toBe(`${ORIGIN}/sign-in?step=code`);
  expect((await other.send('GET', '/api/v1/me')).status).toBe(401);
  expect((await other.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) })).body).toEqual({ status: 'signed_in' });
  expect((await other.send('GET', '/api/v1/me')).body).toMatchObject({ email: 'ada@example.com' });
});

// W5
test.each([
  '//evil.example',
  '/\\evil.example',
  'https://evil.example',
  'https:evil.example',
  '/%0d%0aLocation:x\r\n',
  'javascript:alert(1)',
])('nobody is sent on to %s', async (returnTo) => {
  const reply = await openBrowser(api.app).send('POST', '/api/v1/auth/oauth/acme', { return_to: returnTo });
  expect([reply.status, (reply.body['errors'] as { pointer: string }[])[0]?.pointer]).toEqual([400, '/return_to']);
});

test('a house that is away is asked again when it is back; one that nobody configured is not there', async () => {
  const browser = openBrowser(api.app);
  expect((await browser.send('POST', '/api/v1/auth/oauth/nobody', {})).status).toBe(404);
  house.misbehave('away');
  expect((await browser.send('POST', '/api/v1/auth/oauth/beta', {})).status).toBe(404);
  house.misbehave(null);
  expect((await browser.send('POST', '/api/v1/auth/oauth/beta', {})).status).toBe(200);
  expect((await browser.send('GET', '/api/v1/auth/session')).body['providers']).toEqual([
    { id: 'acme', label: 'Acme' },
    { id: 'beta', label: 'Beta' },
  ]);
});
