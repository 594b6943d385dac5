import { describe, expect, test } from 'vitest';
import { OPERATOR_KEY, pointers, useApi } from './harness.js';

const api = useApi();
const BATCHES = '/api/v1/admin/code-batches';
const make = (body: object, headers: Record<string, string> = {}) =>
  api.call('POST', BATCHES, { name: 'spring', credits: '2.5', count: 3, ...body }, headers);
const codesOf = (reply: { body: unknown }) => (reply.body as { codes: string[] }).codes;
const redeem = (org: string, code: unknown, headers: Record<string, string> = {}) =>
  api.call('POST', `/api/v1/orgs/${org}/redemptions`, { code }, headers);
const available = async (org: string) => (await api.call('GET', `/api/v1/orgs/${org}/balance`)).body['available'];

describe('POST /api/v1/admin/code-batches', () => {
  test('201: codes are shown once, and nothing stored can be redeemed', async () => {
    const made = await make({ code_valid_until: '2999-01-01T00:00:00Z', credits_expire_after: '90d' });
    expect(made.status, made.text).toBe(201);
    expect(made.body).toMatchObject({ count: 3, used: 0, unused: 3, expired: 0, status: 'active', credits_expire_after: '90d' });
    const codes = codesOf(made);
    expect(new Set(codes).size).toBe(3);
    const rows = await api.db.query<{ all: string }>(
      `select (select json_agg(c) from codes c)::text || (select json_agg(b) from code_batches b)::text || (select json_agg(a) from audit_log a)::text as all`,
    );
    for (const code of codes) {
      expect(rows[0]?.all).not.toContain(code);
      expect(rows[0]?.all).not.toContain(code.replaceAll('-', ''));
      expect(rows[0]?.all).toContain(`"last_four":"${code.slice(-4)}"`);
    }
    expect((await api.call('GET', `${BATCHES}/${made.body['id']}`)).text).not.toContain(codes[0]);
  });

  test('201: Accept: text/csv gives a table; the same Idempotency-Key the same codes', async () => {
    const body = { name: 'x', credits: 1, count: 2 };
    const json = await make(body, { 'idempotency-key': 'batch-1' });
    const csv = await api.app.request(`http://farebox.test${BATCHES}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${OPERATOR_KEY}`,
        'content-type': 'application/json',
        accept: 'text/csv',
        'idempotency-key': 'batch-1',
      },
      body: JSON.stringify(body),
    });
    expect([csv.status, csv.headers.get('content-type')]).toEqual([201, 'text/csv; charset=utf-8']);
    const lines = (await csv.text()).trimEnd().split('\r\n');
    expect(lines).toEqual(['code,credits,code_valid_until', ...codesOf(json).map((code) => `${code},1,`)]);
    expect((await make({ ...body, count: 3 }, { 'idempotency-key': 'batch-1' })).status).toBe(422);
  });

  test('201: ten thousand at once', async () => {
    const made = await make({ count: 10_000 });
    expect(new Set(codesOf(made)).size).toBe(10_000);
    expect((await api.call('GET', `${BATCHES}/${made.body['id']}`)).body).toMatchObject({ count: 10_000, unused: 10_000 });
  });

  test('400: every wrong field at once', async () => {
    const wrong = await make({
      name: ' ',
      credits: 0,
      count: 10_001,
      credits_expire_after: '3 months',
      restricted_to: { org: 'me' },
      price: 1,
    });
    expect(pointers(wrong)).toEqual(['/count', '/credits', '/credits_expire_after', '/name', '/price', '/restricted_to/org']);
    for (const count of [0, -1, 1.5, '3', Number.MAX_VALUE]) expect((await make({ count })).status, String(count)).toBe(400);
    expect(pointers(await make({ code_valid_until: '2001-01-01T00:00:00Z' }))).toEqual(['/code_valid_until']);
  });

  test('404: codes for an organization that is not there', async () => {
    expect((await make({ restricted_to: { org: 'org_07AAAAAAAAAAAAAA' } })).status).toBe(404);
  });
});

describe('POST /api/v1/orgs/{org}/redemptions', () => {
  test('200: however it was typed, the credits are there at once', async () => {
    const org = await api.org();
    const [code = ''] = codesOf(await make({ credits_expire_after: '12h' }));
    const before = Date.now();
    const { status, body } = await redeem(org, ` ${code.toLowerCase().replaceAll('-', ' ')} `);
    expect(status).toBe(200);
    expect(body).toMatchObject({ amount: { credits: '2.5' }, balance: { credits: '2.5' } });
    expect(Date.parse(String(body['credits_expire_at']))).toBeGreaterThanOrEqual(before + 12 * 3_600_000);
    expect(await api.store.inspect(org as never)).toMatchObject({ spendable: 2_500_000 });
    expect(await available(org)).toMatchObject({ credits: '2.5' });
  });

  test('200: the same Idempotency-Key redeems once, however many ask; another code under it is refused', async () => {
    const org = await api.org();
    const [one, two] = codesOf(await make({}));
    const replies = await Promise.all([1, 2, 3].map(() => redeem(org, one, { 'idempotency-key': 'r-1' })));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(replies.map(({ body }) => body['grant_id'])).size).toBe(1);
    expect(await available(org)).toMatchObject({ credits: '2.5' });
    expect((await redeem(org, two, { 'idempotency-key': 'r-1' })).status).toBe(422);
  });

  test('each no has its own code, and costs nothing', async () => {
    const [org, other] = [await api.org(), await api.org()];
    const used = codesOf(await make({}))[0];
    expect((await redeem(other, used)).status).toBe(200);
    const mine = await redeem(other, used);
    expect([mine.status, mine.body['code']]).toEqual([409, 'code_already_used']);
    expect(mine.body['detail']).toContain('by operator');
    const theirs = await redeem(org, used);
    expect([theirs.status, theirs.body['code']]).toEqual([409, 'code_already_used']);
    expect(theirs.body['detail']).not.toContain('operator');
    const foreign = await redeem(org, codesOf(await make({ restricted_to: { org: other } }))[0]);
    expect([foreign.status, foreign.body['code']]).toEqual([403, 'code_not_for_you']);
    const withdrawn = await make({});
    await api.call('POST', `${BATCHES}/${withdrawn.body['id']}/disable`);
    const late = await make({ code_valid_until: new Date(Date.now() + 3_600_000).toISOString() });
    await api.db.query("update code_batches set valid_until = now() - interval '1 second' where batch_id = $1", [String(late.body['id'])]);
    const disabled = await redeem(org, codesOf(withdrawn)[0]);
    expect([disabled.status, disabled.body['code']]).toEqual([410, 'code_disabled']);
    const expired = await redeem(org, codesOf(late)[0]);
    expect([expired.status, expired.body['code']]).toEqual([410, 'code_expired']);
    expect(await available(org)).toMatchObject({ micro: 0 });
    expect((await redeem('org_07AAAAAAAAAAAAAA', used)).status).toBe(404);
    expect(pointers(await redeem(org, 7))).toEqual(['/code']);
  });

  test('404, then 429 with Retry-After: five wrong codes make a pause, in which a good one waits too', async () => {
    const org = await api.org();
    for (const wrong of ['x', 'AAAAA-AAAAA-AAAAA-AAAAA-AAAAA', '', '0', 'ÜÜÜ'].map((code) => code || '-')) {
      const reply = await redeem(org, wrong);
      expect([reply.status, reply.body['code']]).toEqual([404, 'code_not_found']);
    }
    const [code] = codesOf(await make({}));
    const paused = await redeem(org, code);
    expect([paused.status, paused.body['code']]).toEqual([429, 'too_many_attempts']);
    expect(Number(paused.headers.get('retry-after'))).toBeGreaterThan(880);
    expect((await redeem(await api.org(), code)).status).toBe(200);
  });

  test('codes for new accounts are refused to whoever has redeemed before', async () => {
    const org = await api.org();
    const [first, second] = codesOf(await make({ restricted_to: { new_accounts: true } }));
    expect((await redeem(org, first)).status).toBe(200);
    expect((await redeem(org, second)).body['code']).toBe('code_not_for_you');
  });
});

describe('batches of codes', () => {
  test('the list counts, a batch is disabled once, and redemptions say who, page by page', async () => {
    const org = await api.org();
    const made = await make({ count: 4, name: 'counted' });
    const id = String(made.body['id']);
    for (const code of codesOf(made).slice(0, 3)) await redeem(org, code);
    const listed = (await api.call('GET', `${BATCHES}?limit=200`)).body['data'] as unknown as { id: string }[];
    expect(listed.find((batch) => batch.id === id)).toMatchObject({ used: 3, unused: 1, name: 'counted' });
    const first = await api.call('GET', `${BATCHES}/${id}/redemptions?limit=2`);
    const rest = await api.call('GET', `${BATCHES}/${id}/redemptions?limit=2&cursor=${first.body['next_cursor']}`);
    const rows = [first, rest].flatMap(({ body }) => body['data'] as unknown as { last_four: string; org_id: string }[]);
    expect(rows.map((row) => row.last_four).sort()).toEqual(
      codesOf(made)
        .slice(0, 3)
        .map((code) => code.slice(-4))
        .sort(),
    );
    expect(new Set(rows.map((row) => row.org_id))).toEqual(new Set([org]));
    const disabled = await Promise.all([1, 2].map(() => api.call('POST', `${BATCHES}/${id}/disable`)));
    expect(disabled.map(({ body }) => body['status'])).toEqual(['disabled', 'disabled']);
    const lines = (await api.call('GET', '/api/v1/admin/audit?action=codes.disable&limit=200')).body['data'] as unknown as {
      subject: string;
    }[];
    expect(lines.filter((line) => line.subject === id)).toHaveLength(1);
    expect(await available(org)).toMatchObject({ credits: '7.5' });
  });

  test('404: batches that are not there', async () => {
    for (const [method, end] of [
      ['GET', ''],
      ['POST', '/disable'],
      ['GET', '/redemptions'],
      ['GET', '/codes'],
      ['POST', `/codes/code_${'0'.repeat(32)}/disable`],
    ] as const)
      expect((await api.call(method, `${BATCHES}/batch_0000000000000000${end}`)).status).toBe(404);
  });
});

interface CodeOut {
  readonly id: string;
  readonly last_four: string;
  readonly state: string;
  readonly redeemed: { readonly org_id: string } | null;
}

describe('single codes of a batch', () => {
  const rowsOf = (reply: { body: unknown }) => (reply.body as { data: CodeOut[] }).data;
  const linesOf = async (action: string, subject: string) => {
    const { body } = await api.call('GET', `/api/v1/admin/audit?action=${action}&limit=200`);
    return (body['data'] as unknown as { subject: string; details: Record<string, unknown> }[]).filter((line) => line.subject === subject);
  };
  const batchOf = async (body: object) => {
    const made = await make(body);
    return { id: String(made.body['id']), codes: codesOf(made) };
  };

  test('support finds a code by how it ends, typed as it was read aloud, and sees who redeemed it', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 40 });
    const [lost = '', other = ''] = codes;
    await redeem(org, lost);
    const found = await api.call('GET', `${BATCHES}/${id}/codes?last_four=${lost.slice(-4).toLowerCase().replaceAll('0', 'o')}`);
    expect(rowsOf(found).find((row) => row.state === 'used')).toMatchObject({
      last_four: lost.slice(-4),
      redeemed: { org_id: org, by: 'operator' },
      disabled_at: null,
    });
    expect(rowsOf(found).every((row) => row.last_four === lost.slice(-4))).toBe(true);
    for (const code of codes) expect(found.text).not.toContain(code);
    expect(pointers(await api.call('GET', `${BATCHES}/${id}/codes?last_four=${other.slice(-3)}`))).toEqual(['?last_four']);
  });

  test('page by page every code comes once, and by its state', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 5 });
    await redeem(org, codes[0]);
    const seen: CodeOut[] = [];
    let cursor = '';
    do {
      const page = await api.call('GET', `${BATCHES}/${id}/codes?limit=2${cursor}`);
      seen.push(...rowsOf(page));
      cursor = page.body['next_cursor'] ? `&cursor=${page.body['next_cursor']}` : '';
    } while (cursor);
    expect(new Set(seen.map((row) => row.id)).size).toBe(5);
    expect(seen.map((row) => row.last_four).sort()).toEqual(codes.map((code) => code.slice(-4)).sort());
    expect(rowsOf(await api.call('GET', `${BATCHES}/${id}/codes?state=used`))).toHaveLength(1);
    expect(rowsOf(await api.call('GET', `${BATCHES}/${id}/codes?state=unused`))).toHaveLength(4);
  });

  test('one that is withdrawn says so to whoever types it; the others of the batch still work', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 2 });
    const [wrong = '', right = ''] = codes;
    const row = rowsOf(await api.call('GET', `${BATCHES}/${id}/codes?last_four=${wrong.slice(-4)}`))[0];
    const path = `${BATCHES}/${id}/codes/${row?.id}/disable`;
    const disabled = await Promise.all([1, 2, 3].map(() => api.call('POST', path)));
    expect(disabled.map(({ status, body }) => [status, body['state']])).toEqual(Array(3).fill([200, 'disabled']));
    const refused = await redeem(org, wrong);
    expect([refused.status, refused.body['code']]).toEqual([410, 'code_disabled']);
    expect((await redeem(org, right)).status).toBe(200);
    expect((await api.call('GET', `${BATCHES}/${id}`)).body).toMatchObject({
      used: 1,
      disabled: 1,
      unused: 0,
      expired: 0,
      status: 'active',
    });
    const lines = await linesOf('code.disable', id);
    expect(lines.map(({ details }) => details)).toEqual([{ code_id: row?.id, last_four: wrong.slice(-4) }]);
    expect(await available(org)).toMatchObject({ credits: '2.5' });
  });

  test('one that was redeemed cannot be withdrawn, and the answer names the grant', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 1 });
    const grant = (await redeem(org, codes[0])).body['grant_id'];
    const [row] = rowsOf(await api.call('GET', `${BATCHES}/${id}/codes`));
    const late = await api.call('POST', `${BATCHES}/${id}/codes/${row?.id}/disable`);
    expect([late.status, late.body['code']]).toEqual([409, 'code_already_used']);
    expect(late.body['detail']).toContain(grant);
    expect(await linesOf('code.disable', id)).toEqual([]);
    expect(await available(org)).toMatchObject({ credits: '2.5' });
  });

  test('of redeeming and withdrawing at once exactly one happens', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 5, credits: 1 });
    const ids = new Map(rowsOf(await api.call('GET', `${BATCHES}/${id}/codes`)).map((row) => [row.last_four, row.id]));
    const pairs = await Promise.all(
      codes.map((code) => Promise.all([redeem(org, code), api.call('POST', `${BATCHES}/${id}/codes/${ids.get(code.slice(-4))}/disable`)])),
    );
    for (const [redeemed, withdrawn] of pairs)
      expect([redeemed.status, withdrawn.status].sort()).toSatisfy(([low, high]) => low === 200 && (high === 409 || high === 410));
    const won = pairs.filter(([redeemed]) => redeemed.status === 200).length;
    expect(await available(org)).toMatchObject({ micro: won * 1_000_000 });
    expect((await api.call('GET', `${BATCHES}/${id}`)).body).toMatchObject({ used: won, disabled: 5 - won });
  });

  test('a batch that is disabled takes all its unused codes with it, each of which says so', async () => {
    const org = await api.org();
    const { id, codes } = await batchOf({ count: 3 });
    await redeem(org, codes[0]);
    const disabled = await api.call('POST', `${BATCHES}/${id}/disable`);
    expect(disabled.body).toMatchObject({ used: 1, disabled: 2, unused: 0 });
    const rows = rowsOf(await api.call('GET', `${BATCHES}/${id}/codes`));
    expect(rows.map((row) => row.state).sort()).toEqual(['disabled', 'disabled', 'used']);
    for (const code of codes.slice(1)) expect((await redeem(org, code)).body['code']).toBe('code_disabled');
  });
});
