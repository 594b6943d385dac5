import { beforeEach, describe, expect, test } from 'vitest';
import { forgetTries, PASSWORD, person, signsIn } from '../accounts/people/accounts.js';
import { type Browser, mailbox, ORIGIN, openBrowser } from '../accounts/people/browser.js';
import { codeOf } from '../accounts/people/totp.js';
import { useApi } from './harness.js';

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
/** Where hashing takes long enough to be measured. */
const slow = useApi({ people: { mailer: mail, passwordCost: { log2n: 15, r: 8, p: 1 } } });
beforeEach(() => forgetTries(api));

let people = 0;
const address = (name = 'ada') => `${name}.${++people}@example.com`;
const signIn = (browser: Browser, email: string, password = PASSWORD, headers: Record<string, string> = {}) =>
  browser.send('POST', '/api/v1/auth/sign-in', { email, password }, headers);
const from = (ip: string) => ({ 'x-forwarded-for': ip });

describe('signing up', () => {
  test('however often it is repeated there is one person, one organization and one trial', async () => {
    const email = address();
    const browser = openBrowser(api.app);
    const body = { email, password: PASSWORD, name: 'Ada', organization_name: 'Engines' };
    const replies = await Promise.all(Array.from({ length: 4 }, () => browser.send('POST', '/api/v1/auth/sign-up', body)));
    expect(replies.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    await Promise.all([signIn(browser, email), signIn(openBrowser(api.app), email)]);
    const counted = await api.db.one(
      `select count(distinct p.person_id)::int as people, count(distinct m.org_id)::int as orgs, count(distinct g.grant_id)::int as grants,
         max(o.name) as name, max(g.amount) as amount, bool_and(g.expires_at between now() + interval '29 days' and now() + interval '31 days') as ends
       from people p left join org_members m using (person_id) left join organizations o using (org_id) left join grants g using (org_id)
       where p.email = $1`,
      [email],
    );
    expect(counted).toEqual({ people: 1, orgs: 1, grants: 1, name: 'Engines', amount: 100_000_000, ends: true });
  });

  test('the answer for a known address is that for a new one, and changes nothing', async () => {
    const { email } = await person(api, address());
    const browser = openBrowser(api.app);
    const sendUp = (to: string) => browser.send('POST', '/api/v1/auth/sign-up', { email: to, password: 'another long password' });
    const [known, fresh] = [await sendUp(email), await sendUp(address('new'))];
    const shown = ({ status, body, headers }: typeof known) => [status, body, [...headers.keys()].sort()];
    expect(shown(known)).toEqual(shown(fresh));
    expect(browser.cookies.size).toBe(0);
    expect((await signIn(browser, email, 'another long password')).status).toBe(401);
    await signsIn(browser, email);
  });

  test.each([
    ['short', 'short', /at least 12/],
    ['of one letter', 'aaaaaaaaaaaaaaaa', /different characters/],
    ['everybody’s', 'password1234', /first passwords/],
    ['the address', 'ada.lovelace@example.com', /e-mail address/],
    ['too long', 'a1b2c3'.repeat(60), /At most 200/],
  ])('400: a password that is %s', async (_, password, message) => {
    const reply = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { email: 'ada.lovelace@example.com', password });
    expect(reply.status).toBe(400);
    expect(reply.body['errors']).toMatchObject([{ pointer: '/password', message: expect.stringMatching(message) }]);
    expect(JSON.stringify(reply.body)).not.toContain(password);
  });

  test('400: an address that is none names its field', async () => {
    for (const email of ['nobody', 'a@b', '', `${'x'.repeat(250)}@example.com`, 'a b@example.com', null, ['a@example.com']]) {
      const reply = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD });
      expect([reply.status, (reply.body['errors'] as { pointer: string }[])[0]?.pointer], String(email)).toEqual([400, '/email']);
    }
  });
});

describe('signing in', () => {
  test('an unknown address and a wrong password get the same words', async () => {
    const { email } = await person(api, address());
    const replies = [await signIn(openBrowser(api.app), email, 'wrong password'), await signIn(openBrowser(api.app), address('none'))];
    const shown = replies.map(({ status, body }) => ({ status, ...body, request_id: '' }));
    expect(shown[0]).toEqual(shown[1]);
    expect(shown[0]).toMatchObject({ status: 401, code: 'sign_in_failed' });
  });

  test('and take the same time, as do sign-ups of known and new addresses', async () => {
    const known = address();
    await openBrowser(slow.app).send('POST', '/api/v1/auth/sign-up', { email: known, password: PASSWORD });
    await signIn(openBrowser(slow.app), known);
    const took = async (path: string, email: string): Promise<number> => {
      // Of the processor, not by the wall: what else a machine does must not decide this.
      const began = process.cpuUsage();
      await openBrowser(slow.app).send('POST', path, { email, password: 'another long password' });
      const { user, system } = process.cpuUsage(began);
      return (user + system) / 1_000;
    };
    for (const path of ['/api/v1/auth/sign-in', '/api/v1/auth/sign-up']) {
      const fastest = { known: Number.POSITIVE_INFINITY, fresh: Number.POSITIVE_INFINITY };
      for (let i = 0; i < 8; i++) {
        await forgetTries(slow);
        fastest.known = Math.min(fastest.known, await took(path, known));
        fastest.fresh = Math.min(fastest.fresh, await took(path, address('fresh')));
      }
      expect(fastest.known).toBeGreaterThan(40);
      expect(fastest.fresh / fastest.known, `${path} ${JSON.stringify(fastest)}`).toBeGreaterThan(0.75);
      expect(fastest.fresh / fastest.known, `${path} ${JSON.stringify(fastest)}`).toBeLessThan(1.33);
    }
  });

  test('five tries a minute for an address from one place; the sixth is told how long to wait, the right password too', async () => {
    const { email } = await person(api, address());
    await forgetTries(api);
    for (let i = 0; i < 5; i++) expect((await signIn(openBrowser(api.app), email, 'wrong password', from('192.0.2.1'))).status).toBe(401);
    const sixth = await signIn(openBrowser(api.app), email, PASSWORD, from('192.0.2.1'));
    expect([sixth.status, sixth.body['code']]).toEqual([429, 'too_many_attempts']);
    const wait = Number(sixth.headers.get('retry-after'));
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(60);
    expect((await signIn(openBrowser(api.app), email, PASSWORD, from('192.0.2.2'))).status).toBe(200);
    await api.db.query("update auth_attempts set until = now() - interval '1 second'");
    expect((await signIn(openBrowser(api.app), email, PASSWORD, from('192.0.2.1'))).status).toBe(200);
  });

  test('who signs in rightly all day is never told to wait', async () => {
    const { email } = await person(api, address());
    for (let i = 0; i < 9; i++) expect((await signIn(openBrowser(api.app), email)).status).toBe(200);
  });

  test('guesses at one address from everywhere, and at everybody from one place, end too', async () => {
    const { email } = await person(api, address());
    await forgetTries(api);
    const tries = async (ask: (i: number) => Promise<{ status: number }>) => {
      for (let i = 1; i <= 120; i++) if ((await ask(i)).status === 429) return i;
      return Number.POSITIVE_INFINITY;
    };
    expect(await tries((i) => signIn(openBrowser(api.app), email, 'wrong password', from(`192.0.2.${i}`)))).toBeLessThanOrEqual(41);
    await forgetTries(api);
    expect(
      await tries((i) => signIn(openBrowser(api.app), `nobody${i}@example.com`, 'wrong password', from('198.51.100.7'))),
    ).toBeLessThanOrEqual(101);
  });

  test('a network of IPv6 is one place, however many addresses it has', async () => {
    const email = address('none');
    const status = async (ip: string) => (await signIn(openBrowser(api.app), email, PASSWORD, from(ip))).status;
    for (let i = 0; i < 5; i++) expect(await status(`2001:db8:1:2::${i}`)).toBe(401);
    expect(await status('2001:db8:1:2:ffff::1')).toBe(429);
    expect(await status('2001:db8:1:3::1')).toBe(401);
    expect(await status('::ffff:192.0.2.9')).toBe(401);
  });

  test('links that many people follow at once do not count for each other', async () => {
    for (let i = 0; i < 30; i++) {
      const reply = await openBrowser(api.app).send(
        'POST',
        '/api/v1/auth/email/verify',
        { token: `no such link ${i}` },
        from(`192.0.2.${i}`),
      );
      expect(reply.status).toBe(410);
    }
  });

  // W8
  test('a cookie that was there before is not the session afterwards, and the old session ends', async () => {
    const { browser, email } = await person(api, address());
    const before = browser.cookies.get('farebox_session');
    await signsIn(browser, email);
    const after = browser.cookies.get('farebox_session');
    expect(after).not.toBe(before);
    const old = { cookie: `farebox_session=${before}` };
    expect((await openBrowser(api.app).send('GET', '/api/v1/me', undefined, old)).status).toBe(401);
    const planted = openBrowser(api.app);
    await planted.send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD }, { cookie: 'farebox_session=planted.by-somebody' });
    expect(planted.cookies.get('farebox_session')).not.toContain('planted');
  });

  test('a disabled person is told so by the right password only, and no session of theirs lives on', async () => {
    const { browser, email, personId } = await person(api, address());
    await api.db.query('update people set disabled_at = now() where person_id = $1', [personId]);
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
    expect((await signIn(openBrowser(api.app), email, 'wrong password')).body['code']).toBe('sign_in_failed');
    expect((await signIn(openBrowser(api.app), email)).body['code']).toBe('account_disabled');
    expect(await api.db.query('select 1 from sessions where person_id = $1', [personId])).toHaveLength(1);
    await api.db.query('update people set disabled_at = null where person_id = $1', [personId]);
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(200);
  });

  test('a new device is announced, a known one is not', async () => {
    const { email } = await person(api, address());
    mail.mails.length = 0;
    await signsIn(openBrowser(api.app), email);
    expect(mail.mails).toEqual([]);
    await signsIn(openBrowser(api.app, { agent: 'Another' }), email);
    await signsIn(openBrowser(api.app, { agent: 'Another' }), email);
    expect(mail.mails).toMatchObject([{ kind: 'new_sign_in', to: email, device: 'Another' }]);
  });
});

describe('the cookie', () => {
  const secure = /^__Host-farebox_session=[^;]+; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Lax; Secure$/;
  const plain = /^farebox_session=[^;]+; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Lax$/;

  test.each([
    ['http://localhost:8080', secure],
    ['http://127.0.0.1:8080', secure],
    ['http://[::1]:8080', secure],
    ['http://192.168.1.5:8080', plain],
    ['http://localhost.evil.example', plain],
  ])('on %s', async (origin, form) => {
    const { email } = await person(api, address());
    const browser = openBrowser(api.app, { origin });
    const reply = await signIn(browser, email);
    expect(reply.headers.getSetCookie()).toEqual([expect.stringMatching(form)]);
    const session = await browser.send('GET', '/api/v1/auth/session');
    expect(session.body).toMatchObject({ person: { email }, warning: form === plain ? expect.stringContaining('plain http') : null });
  });

  test('on a secure way a cookie without the prefix is nobody’s, because a neighbour could have set it', async () => {
    const { email } = await person(api, address());
    const browser = openBrowser(api.app, { origin: 'http://localhost:8080' });
    await signIn(browser, email);
    const value = browser.cookies.get('__Host-farebox_session');
    const other = openBrowser(api.app, { origin: 'http://localhost:8080' });
    expect((await other.send('GET', '/api/v1/me', undefined, { cookie: `farebox_session=${value}` })).status).toBe(401);
    expect((await other.send('GET', '/api/v1/me', undefined, { cookie: `__Host-farebox_session=${value}` })).status).toBe(200);
  });

  test('is kept as a digest only, and strange cookies are nobody', async () => {
    const { browser, personId } = await person(api, address());
    const token = decodeURIComponent(browser.cookies.get('farebox_session') ?? '').split('.')[0] ?? '';
    const rows = await api.db.query<{ row: string }>('select s::text as row from sessions s where person_id = $1', [personId]);
    expect(rows).toHaveLength(1);
    expect(rows[0]?.row).not.toContain(token);
    for (const cookie of [
      'farebox_session=',
      'farebox_session=%E0%A4%A',
      "farebox_session=' or 1=1 --.x",
      `farebox_session=${'a'.repeat(9_000)}.b`,
      ';;;=',
      `x=${'y'.repeat(9_000)}; farebox_session=${token}.x`,
    ]) {
      expect((await openBrowser(api.app).send('GET', '/api/v1/me', undefined, { cookie })).status, cookie.slice(0, 40)).toBe(401);
    }
  });
});

describe('another site', () => {
  // X17
  test('403: changes nothing with the cookie of a visitor', async () => {
    const { browser } = await person(api, address());
    const rename = (headers: Record<string, string>) => browser.send('PATCH', '/api/v1/me', { name: 'Changed' }, headers);
    for (const origin of ['https://evil.example', 'null', 'http://farebox.test.evil.example', 'http://sub.farebox.test'])
      expect([(await rename({ origin })).body['code'], origin]).toEqual(['foreign_origin', origin]);
    expect((await rename({ origin: ORIGIN })).status).toBe(200);
  });

  // W4
  test('403: signs nobody in or out', async () => {
    const { browser, email } = await person(api, address());
    for (const path of ['/api/v1/auth/sign-in', '/api/v1/auth/sign-out', '/api/v1/auth/sign-up'])
      expect((await browser.send('POST', path, { email, password: PASSWORD }, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(200);
  });

  test('a program without a page shows the token of its session', async () => {
    const { browser, personId } = await person(api, address());
    const cookie = `farebox_session=${browser.cookies.get('farebox_session')}`;
    const rename = (headers: Record<string, string>) =>
      api.app.request(`${ORIGIN}/api/v1/me`, {
        method: 'PATCH',
        headers: { cookie, 'content-type': 'application/json', ...headers },
        body: '{"name":"Program"}',
      });
    const token = String((await browser.send('GET', '/api/v1/auth/session')).body['csrf_token']);
    expect((await rename({})).status).toBe(403);
    expect((await rename({ 'x-csrf-token': 'x' })).status).toBe(403);
    const other = await person(api, address());
    expect(
      (await rename({ 'x-csrf-token': String((await other.browser.send('GET', '/api/v1/auth/session')).body['csrf_token']) })).status,
    ).toBe(403);
    expect((await rename({ 'x-csrf-token': token })).status).toBe(200);
    expect(await api.db.one('select name from people where person_id = $1', [personId])).toEqual({ name: 'Program' });
  });
});

describe('sessions', () => {
  test('slide while somebody comes by, and end when nobody does', async () => {
    const { browser, personId } = await person(api, address());
    const age = (by: string) =>
      api.db.query(`update sessions set seen_at = seen_at - $2::interval, expires_at = expires_at - $2::interval where person_id = $1`, [
        personId,
        by,
      ]);
    await age('29 days');
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(200);
    const row = await api.db.one<{ days: number }>(
      'select round(extract(epoch from expires_at - now()) / 86400)::int as days from sessions where person_id = $1',
      [personId],
    );
    expect(row?.days).toBe(30);
    await age('31 days');
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  });

  test('of operators end after twelve hours, however busy they are', async () => {
    const { browser, personId } = await person(api, address());
    await api.db.query("update people set operator_role = 'operator.support' where person_id = $1", [personId]);
    const age = (hours: number) =>
      api.db.query('update sessions set created_at = now() - make_interval(hours => $2) where person_id = $1', [personId, hours]);
    await age(11);
    expect((await browser.send('GET', '/api/v1/me')).body).toMatchObject({ operator_role: 'operator.support' });
    await age(13);
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  });

  test('one of them can be ended, but nobody else’s', async () => {
    const { browser, email } = await person(api, address());
    const other = openBrowser(api.app, { agent: 'Phone' });
    await signsIn(other, email);
    const listed = await browser.send('GET', '/api/v1/auth/sessions');
    const rows = listed.body['data'] as { id: string; current: boolean; user_agent: string }[];
    expect(rows.map(({ current, user_agent }) => [current, user_agent])).toEqual([
      [false, 'Phone'],
      [true, 'Test Browser'],
    ]);
    const stranger = await person(api, address());
    expect((await stranger.browser.send('DELETE', `/api/v1/auth/sessions/${rows[0]?.id}`)).status).toBe(404);
    expect((await browser.send('DELETE', `/api/v1/auth/sessions/${rows[0]?.id}`)).body).toEqual({ ended: 1 });
    expect((await other.send('GET', '/api/v1/me')).status).toBe(401);
    expect((await browser.send('POST', '/api/v1/auth/sign-out')).body).toEqual({ status: 'signed_out' });
    expect(browser.cookies.size).toBe(0);
  });

  test('a changed password ends the others and every link on its way', async () => {
    const { browser, email } = await person(api, address());
    const other = openBrowser(api.app);
    await signsIn(other, email);
    await browser.send('POST', '/api/v1/auth/password/forgot', { email });
    const token = mail.link(email);
    const change = (current: string) =>
      browser.send('POST', '/api/v1/auth/password/change', { current_password: current, password: 'the next long password' });
    expect((await change('not this one at all')).body['code']).toBe('not_right');
    expect((await change(PASSWORD)).body).toEqual({ status: 'changed' });
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(200);
    expect((await other.send('GET', '/api/v1/me')).status).toBe(401);
    expect((await other.send('POST', '/api/v1/auth/password/reset', { token, password: PASSWORD })).body['code']).toBe('link_over');
    expect(mail.mails.at(-1)).toMatchObject({ kind: 'password_changed', to: email });
  });
});

test('who did what to an account is in the audit log, and no secret is', async () => {
  const { browser, email, personId } = await person(api, address());
  const enrolled = await browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD });
  await browser.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(String(enrolled.body['secret'])) });
  await browser.send('PATCH', '/api/v1/me', { name: 'Ada', preferences: { theme: 'dark' } });
  await browser.send('POST', '/api/v1/auth/totp/disable', { password: PASSWORD });
  await browser.send('POST', '/api/v1/auth/password/change', { current_password: PASSWORD, password: 'the next long password' });
  await browser.send('POST', '/api/v1/auth/password/forgot', { email });
  await openBrowser(api.app).send('POST', '/api/v1/auth/password/reset', { token: mail.link(email), password: PASSWORD });
  const rows = await api.db.query<{ action: string; actor: string; details: object }>(
    `select action, actor, details from audit_log where subject = $1 order by id`,
    [personId],
  );
  expect(rows.map(({ action }) => action)).toEqual([
    ...['person.create', 'session.create', 'person.two_factor_on', 'person.update', 'person.two_factor_off'],
    ...['person.password_change', 'person.reset_asked', 'person.password_reset'],
  ]);
  expect(rows.filter(({ action }) => action !== 'person.reset_asked').every(({ actor }) => actor === `person:${personId}`)).toBe(true);
  expect(JSON.stringify(rows)).not.toMatch(/scrypt|password"|secret/);
});

test('oneself: name and preferences change, the rest does not', async () => {
  const { browser } = await person(api, address(), { name: 'Ada' });
  const changed = await browser.send('PATCH', '/api/v1/me', { preferences: { theme: 'dark', locale: 'de-DE' } });
  expect(changed.body).toMatchObject({ name: 'Ada', preferences: { theme: 'dark', locale: 'de-DE' } });
  const again = await browser.send('PATCH', '/api/v1/me', { name: 'Countess', preferences: { unit: 'both' } });
  expect(again.body).toMatchObject({ name: 'Countess', preferences: { theme: 'dark', unit: 'both' } });
  for (const body of [{ operator_role: 'operator.admin' }, { email: 'x@example.com' }, { preferences: { theme: 'pink' } }, { name: '' }])
    expect((await browser.send('PATCH', '/api/v1/me', body)).status, JSON.stringify(body)).toBe(400);
});
