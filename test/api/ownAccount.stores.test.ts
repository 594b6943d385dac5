import { beforeEach, describe, expect, test } from 'vitest';
import { forgetTries, PASSWORD, person, signsIn } from '../accounts/people/accounts.js';
import { mailbox, openBrowser } from '../accounts/people/browser.js';
import { useApi } from './harness.js';

const mail = mailbox(false);
const api = useApi({ people: { mailer: mail } });
beforeEach(() => forgetTries(api));

let people = 0;
const address = (name = 'ada') => `${name}.${++people}@example.com`;
const CHANGE = '/api/v1/auth/email/change';
const CONFIRM = '/api/v1/auth/email/confirm';
const longAgo = (personId: string) =>
  api.db.query("update sessions set authenticated_at = now() - interval '11 minutes' where person_id = $1", [personId]);

describe('another address', () => {
  test('counts once its link was followed; other sessions end, and the old address is told', async () => {
    const [old, next] = [address(), address('lovelace')];
    const { browser, personId } = await person(api, old);
    const elsewhere = openBrowser(api.app);
    await signsIn(elsewhere, old);
    expect((await browser.send('POST', CHANGE, { email: next })).status).toBe(202);
    expect((await browser.send('GET', '/api/v1/me')).body['email'], 'nothing yet').toBe(old);
    expect((await browser.send('POST', CONFIRM, { token: mail.link(next) })).body).toEqual({ status: 'changed' });
    expect((await browser.send('GET', '/api/v1/me')).body).toMatchObject({ id: personId, email: next });
    expect((await elsewhere.send('GET', '/api/v1/me')).status).toBe(401);
    expect(mail.mails.at(-1)).toMatchObject({ kind: 'email_changed', to: old });
    await signsIn(openBrowser(api.app), next);
    const gone = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-in', { email: old, password: PASSWORD });
    expect(gone.status).toBe(401);
    expect((await openBrowser(api.app).send('POST', CONFIRM, { token: mail.link(next) })).status, 'once').toBe(410);
  });

  test('the link alone, opened elsewhere, ends every session', async () => {
    const [old, next] = [address(), address('lovelace')];
    const { browser } = await person(api, old);
    await browser.send('POST', CHANGE, { email: next });
    expect((await openBrowser(api.app).send('POST', CONFIRM, { token: mail.link(next) })).status).toBe(200);
    expect((await browser.send('GET', '/api/v1/me')).status).toBe(401);
  });

  test('a mailbox without a server proves nothing, one with a server does', async () => {
    const { browser } = await person(api, address());
    const next = address('proof');
    await browser.send('POST', CHANGE, { email: next });
    await browser.send('POST', CONFIRM, { token: mail.link(next) });
    expect((await browser.send('GET', '/api/v1/me')).body['email_verified']).toBe(mail.provesAddresses);
  });

  test('of an address that has an account the answer is the same, and nothing is sent', async () => {
    const [{ browser }, other] = [await person(api, address()), await person(api, address('grace'))];
    const before = mail.mails.length;
    const reply = await browser.send('POST', CHANGE, { email: other.email });
    expect([reply.status, reply.body]).toEqual([202, { status: 'accepted' }]);
    expect(mail.mails.length).toBe(before);
    const taken = address('late');
    await browser.send('POST', CHANGE, { email: taken });
    const link = mail.link(taken);
    await person(api, taken);
    expect((await browser.send('POST', CONFIRM, { token: link })).status, 'taken meanwhile').toBe(410);
  });

  test('takes a proof, and only the last link counts, and no link of another kind', async () => {
    const { browser, personId, email } = await person(api, address());
    const [first, second] = [address('first'), address('second')];
    await browser.send('POST', CHANGE, { email: first });
    await browser.send('POST', CHANGE, { email: second });
    expect((await browser.send('POST', CONFIRM, { token: mail.link(first) })).status).toBe(410);
    await browser.send('POST', '/api/v1/auth/password/forgot', { email });
    expect((await browser.send('POST', CONFIRM, { token: mail.link(email) })).status).toBe(410);
    const reset = await browser.send('POST', '/api/v1/auth/password/reset', { token: mail.link(second), password: 'quite another one' });
    expect(reset.status).toBe(410);
    await longAgo(personId);
    expect((await browser.send('POST', CHANGE, { email: address('x') })).body['code']).toBe('step_up_required');
  });
});

describe('an end', () => {
  const leave = (browser: Awaited<ReturnType<typeof person>>['browser'], query = '') => browser.send('DELETE', `/api/v1/me${query}`);

  test('takes a proof, and a word about credits that are left', async () => {
    const { browser, personId } = await person(api, address());
    await longAgo(personId);
    expect((await leave(browser)).body['code']).toBe('step_up_required');
    await browser.send('POST', '/api/v1/auth/confirm', { password: PASSWORD });
    const stays = await leave(browser);
    expect([stays.status, stays.body['code'], stays.body['detail']]).toEqual([
      409,
      'credits_left',
      expect.stringContaining('100 credits left'),
    ]);
    expect((await leave(browser, '?credits=forfeit')).body).toEqual({ status: 'deleted' });
    expect([browser.cookies.size, (await browser.send('GET', '/api/v1/me')).status]).toEqual([0, 401]);
  });

  test('of the person only the id is left; the books are whole, and the organization is closed', async () => {
    const email = address('marie');
    const { browser, personId, homeOrgId } = await person(api, email, { name: 'Marie Unmistakable' });
    const token = await api.token(homeOrgId);
    await leave(browser, '?credits=forfeit');
    const kept = await api.db.one<{ all: string }>(
      `select (select json_agg(p)::text from people p) || coalesce((select json_agg(l)::text from logins l where person_id = $1), '') ||
        coalesce((select json_agg(l)::text from person_links l where person_id = $1), '') || (select json_agg(a)::text from audit_log a)
        || (select json_agg(o)::text from organizations o) || coalesce((select json_agg(i)::text from invitations i), '') as all`,
      [personId],
    );
    expect(kept?.all).toContain(personId);
    expect(kept?.all).not.toContain(email);
    expect(kept?.all).not.toContain('Marie');
    expect((await api.call('GET', `/api/v1/admin/orgs/${homeOrgId}`)).body).toMatchObject({
      status: 'suspended',
      name: 'Closed organization',
    });
    expect((await api.call('GET', `/api/v1/orgs/${homeOrgId}/balance`)).body['settled']).toMatchObject({ credits: '100' });
    expect((await api.call('GET', `/api/v1/orgs/${homeOrgId}/tokens/${token.id}`)).body['status']).toBe('revoked');
    expect(await api.store.lookup(token.id as never)).toMatchObject({ org: { status: 'suspended' } });
    const again = await openBrowser(api.app).send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD });
    expect(again.status).toBe(401);
  });

  test('is refused while an organization of nobody else owes something', async () => {
    const { browser, homeOrgId } = await person(api, address());
    await api.db.query('update org_balances set debt = -5000000 where org_id = $1', [homeOrgId]);
    const refused = await leave(browser, '?credits=forfeit');
    expect([refused.status, refused.body['code'], refused.body['detail']]).toEqual([
      409,
      'owing',
      expect.stringContaining('owes 5 credits'),
    ]);
  });

  test('whoever comes back is somebody new, without credits to try it with', async () => {
    const email = address('boomerang');
    const first = await person(api, email);
    await leave(first.browser, '?credits=forfeit');
    const second = await person(api, email);
    expect(second.personId).not.toBe(first.personId);
    expect((await second.browser.send('GET', `/api/v1/orgs/${second.homeOrgId}/balance`)).body['settled']).toMatchObject({ credits: '0' });
    expect((await leave(second.browser)).status, 'and may go at once').toBe(200);
  });

  // T6: an organization with people in it keeps an owner.
  test('is refused to the only owner of an organization that others belong to; their tokens stay with it', async () => {
    const [owner, other] = [await person(api, address()), await person(api, address('grace'))];
    const org = await api.org('Engines');
    const join = (id: string, role: string) =>
      api.db.query('insert into org_members (org_id, person_id, role_id) values ($1, $2, $3)', [org, id, role]);
    await join(owner.personId, 'owner');
    await join(other.personId, 'developer');
    const refused = await leave(owner.browser, '?credits=forfeit');
    expect([refused.status, refused.body['code'], refused.body['detail']]).toEqual([
      409,
      'last_owner',
      expect.stringContaining("only owner of 'Engines'"),
    ]);
    const made = await other.browser.send('POST', `/api/v1/orgs/${org}/tokens`, { name: 'hers' }, { 'idempotency-key': 'k' });
    expect(made.status).toBe(201);
    expect((await leave(other.browser, '?credits=forfeit')).status).toBe(200);
    expect((await api.call('GET', `/api/v1/orgs/${org}/tokens/${String(made.body['id'])}`)).body).toMatchObject({
      status: 'active',
      owner_id: null,
    });
    expect((await leave(owner.browser, '?credits=forfeit')).status, 'alone now').toBe(200);
  });
});
