import { beforeEach, describe, expect, test } from 'vitest';
import { forgetTries, PASSWORD, person, signsIn } from '../accounts/people/accounts.js';
import { openBrowser } from '../accounts/people/browser.js';
import { type Reply, useApi } from './harness.js';

const api = useApi({ people: {} });
beforeEach(() => forgetTries(api));

const tokenIn = (reply: { body: Record<string, unknown> }, at = 0): string => {
  const sent = (reply.body['data'] as { link: string }[])[at];
  return sent?.link.split('#token=')[1] ?? '';
};

let people = 0;
const address = (name: string) => `${name}.${++people}@example.com`;

describe('inviting', () => {
  test('201: several addresses at once, each with a link of its own, valid for seven days', async () => {
    const owner = await person(api, address('owner'), { organization_name: 'Acme' });
    const path = `/api/v1/orgs/${owner.homeOrgId}/invites`;
    const [one, two] = [address('one'), address('two')];
    const sent = await owner.browser.send('POST', path, { emails: [one, two.toUpperCase(), one, owner.email], role_id: 'developer' });
    expect(sent.status, JSON.stringify(sent.body)).toBe(201);
    expect(sent.body['already_members']).toEqual([owner.email]);
    const data = sent.body['data'] as { email: string; link: string; expires_at: string; status: string }[];
    expect(data.map(({ email }) => email)).toEqual([one, two]);
    expect(new Set(data.map(({ link }) => link)).size).toBe(2);
    expect(Date.parse(data[0]?.expires_at ?? '') - Date.now()).toBeGreaterThan(6.9 * 86_400_000);
    const listed = await owner.browser.send('GET', path);
    expect(listed.body['data']).toHaveLength(2);
    expect(JSON.stringify(listed.body)).not.toContain('#token');
    const kept = await api.db.query<{ row: string }>('select i::text as row from invitations i');
    expect(kept.some(({ row }) => row.includes(tokenIn(sent)))).toBe(false);
  });

  test('200: a new person signs up by the link where nobody else can, accepts and belongs to it', async () => {
    const owner = await person(api, address('owner'));
    const email = address('guest');
    const token = tokenIn(
      await owner.browser.send('POST', `/api/v1/orgs/${owner.homeOrgId}/invites`, { emails: [email], role_id: 'viewer' }),
    );
    const browser = openBrowser(api.app);
    const looked = await browser.send('POST', '/api/v1/auth/invitation/look', { token });
    expect(looked.body).toMatchObject({ email, role: 'Viewer' });
    expect((await browser.send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD, invitation: token })).status).toBe(202);
    await signsIn(browser, email);
    expect((await browser.send('GET', '/api/v1/me')).body).toMatchObject({ email_verified: true });
    const accepted = await browser.send('POST', '/api/v1/auth/invitation/accept', { token });
    expect(accepted.body).toEqual({ org_id: owner.homeOrgId });
    // Repeated because an answer was lost, it says the same.
    expect((await browser.send('POST', '/api/v1/auth/invitation/accept', { token })).body).toEqual(accepted.body);
    const members = await owner.browser.send('GET', `/api/v1/orgs/${owner.homeOrgId}/members`);
    expect(members.body['data']).toMatchObject([
      { email: owner.email, role: { id: 'owner' } },
      { email, role: { id: 'viewer' }, month_spent: { micro: 0 } },
    ]);
    expect((await browser.send('GET', `/api/v1/orgs/${owner.homeOrgId}/members`)).status).toBe(403);
    expect((await openBrowser(api.app).send('POST', '/api/v1/auth/invitation/look', { token })).body['code']).toBe('link_over');
  });

  test('a link works for the address it was sent to, once, until it is revoked, sent again or old', async () => {
    const owner = await person(api, address('owner'));
    const guest = await person(api, address('guest'));
    const other = await person(api, address('other'));
    const path = `/api/v1/orgs/${owner.homeOrgId}/invites`;
    const invited = async () => {
      const sent = await owner.browser.send('POST', path, { emails: [guest.email], role_id: 'developer' });
      return { token: tokenIn(sent), id: String((sent.body['data'] as { id: string }[])[0]?.id) };
    };
    const accept = (who: typeof guest, token: string) => who.browser.send('POST', '/api/v1/auth/invitation/accept', { token });

    const first = await invited();
    expect((await accept(other, first.token)).body['code']).toBe('other_address');
    const again = await owner.browser.send('POST', `${path}/${first.id}/resend`);
    expect(again.status, JSON.stringify(again.body)).toBe(200);
    expect((await accept(guest, first.token)).body['code']).toBe('link_over');
    const second = String(again.body['link']).split('#token=')[1] ?? '';
    expect((await owner.browser.send('DELETE', `${path}/${first.id}`)).body).toEqual({ revoked: true });
    expect((await accept(guest, second)).body['code']).toBe('link_over');
    expect((await owner.browser.send('DELETE', `${path}/${first.id}`)).status).toBe(404);

    const third = await invited();
    await api.db.query("update invitations set expires_at = now() - interval '1 second' where invitation_id = $1", [third.id]);
    expect((await accept(guest, third.token)).body['code']).toBe('link_over');
    expect(((await owner.browser.send('GET', path)).body['data'] as { status: string }[])[0]?.status).toBe('expired');
    const fourth = await invited();
    expect((await accept(guest, fourth.token)).body).toEqual({ org_id: owner.homeOrgId });
    expect((await accept(other, fourth.token)).body['code']).toBe('link_over');
  });

  test('403: nobody invites into more than they may themselves, or without the permission', async () => {
    const owner = await person(api, address('owner'));
    const admin = await person(api, address('admin'));
    const viewer = await person(api, address('viewer'));
    const path = `/api/v1/orgs/${owner.homeOrgId}/invites`;
    for (const [who, role] of [
      [admin, 'admin'],
      [viewer, 'viewer'],
    ] as const) {
      const sent = await owner.browser.send('POST', path, { emails: [who.email], role_id: role });
      await who.browser.send('POST', '/api/v1/auth/invitation/accept', { token: tokenIn(sent) });
    }
    const body = (role: string) => ({ emails: ['x@example.com'], role_id: role });
    expect((await admin.browser.send('POST', path, body('owner'))).body['code']).toBe('beyond_own_role');
    expect((await admin.browser.send('POST', path, body('billing'))).status).toBe(201);
    expect((await viewer.browser.send('POST', path, body('viewer'))).status).toBe(403);
    expect((await owner.browser.send('POST', path, body('role_00000000000000'))).status).toBe(404);
    expect((await owner.browser.send('POST', path, { emails: [], role_id: 'viewer' })).status).toBe(400);
    expect((await owner.browser.send('POST', path, { emails: ['not an address'], role_id: 'viewer' })).status).toBe(400);
    expect((await person(api, address('foreign'))).browser.cookies.size).toBe(1);
  });

  test('404: an organization of others looks as if it were not there', async () => {
    const owner = await person(api, address('owner'));
    const stranger = await person(api, address('stranger'));
    const [foreign, unknown] = await Promise.all(
      [owner.homeOrgId, 'org_07AAAAAAAAAAAAAA'].map((org) => stranger.browser.send('GET', `/api/v1/orgs/${org}/invites`)),
    );
    expect([foreign?.status, unknown?.status]).toEqual([404, 404]);
    expect(foreign?.body['detail']).toBe(unknown?.body['detail']);
  });
});

describe('members', () => {
  test('change, leave and go; the last owner stays', async () => {
    const owner = await person(api, address('owner'));
    const guest = await person(api, address('guest'));
    const path = `/api/v1/orgs/${owner.homeOrgId}`;
    const sent = await owner.browser.send('POST', `${path}/invites`, { emails: [guest.email], role_id: 'developer' });
    await guest.browser.send('POST', '/api/v1/auth/invitation/accept', { token: tokenIn(sent) });

    const changed = await owner.browser.send('PATCH', `${path}/members/${guest.personId}`, { role_id: 'billing', monthly_quota: '5' });
    expect(changed.body).toMatchObject({ role: { id: 'billing' }, monthly_quota: { credits: '5' }, email: guest.email });
    expect((await owner.browser.send('POST', `${path}/leave`, { tokens: 'keep' })).body['code']).toBe('last_owner');
    expect((await owner.browser.send('PATCH', `${path}/members/${owner.personId}`, { role_id: 'viewer' })).body['code']).toBe('last_owner');
    await api.db.query("update sessions set authenticated_at = now() - interval '11 minutes' where person_id = $1", [owner.personId]);
    const late = await owner.browser.send('PATCH', `${path}/members/${guest.personId}`, { role_id: 'owner' });
    expect(late.body['code']).toBe('step_up_required');
    expect((await owner.browser.send('POST', '/api/v1/auth/confirm', { password: 'not the password' })).status).toBe(401);
    expect((await owner.browser.send('POST', '/api/v1/auth/confirm', { password: PASSWORD })).body).toEqual({ status: 'confirmed' });
    expect((await owner.browser.send('PATCH', `${path}/members/${guest.personId}`, { role_id: 'owner' })).status).toBe(200);
    expect((await owner.browser.send('POST', `${path}/leave`, { tokens: 'keep' })).body).toEqual({ removed: true, tokens: 0 });
    expect((await owner.browser.send('GET', path)).status).toBe(404);
    expect((await guest.browser.send('DELETE', `${path}/members/${owner.personId}?tokens=keep`)).status).toBe(404);
  });

  test('what becomes of the tokens has to be said', async () => {
    const owner = await person(api, address('owner'));
    const guest = await person(api, address('guest'));
    const path = `/api/v1/orgs/${owner.homeOrgId}`;
    const sent = await owner.browser.send('POST', `${path}/invites`, { emails: [guest.email], role_id: 'developer' });
    await guest.browser.send('POST', '/api/v1/auth/invitation/accept', { token: tokenIn(sent) });
    const at = `${path}/members/${guest.personId}`;
    expect((await owner.browser.send('DELETE', at)).status).toBe(400);
    expect((await owner.browser.send('DELETE', `${at}?tokens=reassign`)).status).toBe(400);
    expect((await owner.browser.send('DELETE', `${at}?tokens=reassign&to=${guest.personId}`)).status).toBe(404);
    expect((await owner.browser.send('DELETE', `${at}?tokens=revoke`)).body).toEqual({ removed: true, tokens: 0 });
    expect((await guest.browser.send('GET', path)).status).toBe(404);
  });
});

test('every answer has the shape that is documented', async () => {
  const org = await api.org();
  const replies: Reply[] = [
    await api.call('POST', `/api/v1/orgs/${org}/invites`, { emails: ['a@example.com'], role_id: 'owner' }),
    await api.call('GET', `/api/v1/orgs/${org}/invites`),
    await api.call('GET', `/api/v1/orgs/${org}/members`),
    await api.call('GET', '/api/v1/auth/session', undefined, { authorization: '' }),
  ];
  expect(replies.map(({ status }) => status)).toEqual([201, 200, 200, 200]);
});
