import { beforeAll, describe, expect, test } from 'vitest';
import { OPERATOR_KEY, pointers, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let request = '';
const LEDGER = () => `/api/v1/admin/orgs/${org}/ledger`;
const rows = (reply: { body: unknown }) => (reply.body as { data: Record<string, never>[] }).data;

beforeAll(async () => {
  org = await api.org('Booked');
  const token = await api.token(org);
  for (const [credits, kind] of [
    [1, 'manual'],
    [2, 'goodwill'],
  ])
    await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, kind, reason: '=1+1' });
  const event = requestOf({ org, token: token.id, atMs: Date.now(), input: 100_000, output: 0 });
  request = event.request_id;
  await post(api.db, event);
  await api.call('POST', `/api/v1/admin/orgs/${org}/deductions`, { credits: '0.25', reason: 'a mistake' });
});

describe('GET /api/v1/orgs/{org}/statement', () => {
  test('200: what every grant became, adding up to the balance', async () => {
    const statement = await api.call('GET', `/api/v1/orgs/${org}/statement`);
    expect(statement.status, statement.text).toBe(200);
    expect(statement.body).toMatchObject({
      balance: { credits: '1.25' },
      totals: {
        grants: 2,
        granted: { credits: '3' },
        consumed: { credits: '1.5' },
        withdrawn: { credits: '0.25' },
        remaining: { credits: '1.25' },
      },
      debt: { owed: { credits: '0' } },
      grants: {
        data: [
          { kind: 'goodwill', remaining: { credits: '0.25' }, charges: 1 },
          { kind: 'manual', category: 'paid' },
        ],
      },
    });
  });

  test('200: page by page, with the totals of all', async () => {
    const first = await api.call('GET', `/api/v1/orgs/${org}/statement?limit=1`);
    const { next_cursor: cursor } = first.body['grants'] as unknown as { next_cursor: string };
    const second = await api.call('GET', `/api/v1/orgs/${org}/statement?limit=1&cursor=${cursor}`);
    expect(second.body).toMatchObject({ totals: first.body['totals'], grants: { data: [{ kind: 'manual' }], has_more: false } });
    expect((await api.call('GET', `/api/v1/orgs/${org}/statement?limit=1&grants=live&cursor=${cursor}`)).body['code']).toBe(
      'cursor_mismatch',
    );
  });

  test('404: nobody of that name', async () => {
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/statement')).status).toBe(404);
  });
});

describe('GET /api/v1/admin/orgs/{org}/ledger', () => {
  test('200: transactions with both sides, who and why; filters and pages', async () => {
    const all = await api.call('GET', LEDGER());
    expect(all.status, all.text).toBe(200);
    expect(rows(all).map(({ kind }) => kind)).toEqual(['adjust', 'usage', 'goodwill', 'manual']);
    expect(rows(all)[0]).toMatchObject({
      reason: 'a mistake',
      actor: 'operator',
      lines: [
        { account: 'void', own: false, credit: { credits: '0.25' }, debit: null, balance_after: null },
        { account: 'grant', own: true, debit: { credits: '0.25' }, balance_after: { credits: '0.25' } },
      ],
    });
    const [first] = rows(await api.call('GET', `${LEDGER()}?kind=manual,goodwill&limit=1`));
    expect(first).toMatchObject({ kind: 'goodwill', actor: 'operator', reason: '=1+1' });
    const grants = await api.call('GET', `${LEDGER()}?kind=manual&kind=goodwill&limit=1`);
    const next = await api.call('GET', `${LEDGER()}?kind=manual,goodwill&limit=1&cursor=${grants.body['next_cursor']}`);
    expect([rows(next)[0]?.['kind'], next.body['has_more']]).toEqual(['manual', false]);
    expect(rows(await api.call('GET', `${LEDGER()}?to=2020-01-01T00:00:00Z`))).toEqual([]);
    const sold = rows(all)[3]?.['lines'] as unknown as { grant_id: string | null }[];
    const grantId = sold.find((line) => line.grant_id)?.grant_id;
    expect(rows(await api.call('GET', `${LEDGER()}?grant_id=${grantId}`)).map(({ kind }) => kind)).not.toContain('goodwill');
  });

  test('400: filters that are none', async () => {
    const wrong = await api.call('GET', `${LEDGER()}?kind=theft&grant_id=7&from=yesterday&limit=0`);
    expect(pointers(wrong)).toEqual(['?from', '?grant_id', '?kind.0', '?limit']);
    expect((await api.call('GET', `${LEDGER()}?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z`)).status).toBe(400);
  });

  test('200: one transaction, and the requests it booked', async () => {
    const [usage] = rows(await api.call('GET', `${LEDGER()}?kind=usage`));
    const one = await api.call('GET', `${LEDGER()}/${usage?.['id']}`);
    expect(one.body).toMatchObject({
      kind: 'usage',
      requests: { data: [{ request_id: request, amount: { credits: '1.5' } }], has_more: false },
    });
    const elsewhere = await api.org();
    expect((await api.call('GET', `/api/v1/admin/orgs/${elsewhere}/ledger/${usage?.['id']}`)).status).toBe(404);
    for (const id of ['tx_0', '1', 'tx_1e3', 'tx_99999999999999999999'])
      expect((await api.call('GET', `${LEDGER()}/${id}`)).status, id).toBe(404);
  });

  test('200: what a grant paid for', async () => {
    const statement = (await api.call('GET', `/api/v1/orgs/${org}/statement`)).body as unknown as { grants: { data: { id: string }[] } };
    const [gift] = statement.grants.data;
    const charges = await api.call('GET', `/api/v1/admin/orgs/${org}/grants/${gift?.id}/charges`);
    expect(rows(charges)).toMatchObject([{ amount: { credits: '1.5' }, requests_total: 1, requests: [{ request_id: request }] }]);
  });

  test('200: a file of all lines, in which no text is a formula', async () => {
    const response = await api.app.request(`http://farebox.test${LEDGER()}/export`, {
      headers: { authorization: `Bearer ${OPERATOR_KEY}` },
    });
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const [head, ...lines] = (await response.text()).trimEnd().split('\r\n');
    expect(head).toMatch(/^transaction,time \(UTC\),kind,account/);
    expect(lines.length).toBe(8);
    expect(lines.filter((line) => line.includes(",'=1+1,operator"))).toHaveLength(4);
    const sum = (column: number) => lines.reduce((all, line) => all + Number(line.split(',')[column]), 0);
    expect(sum(5)).toBe(sum(6));
  });
});
