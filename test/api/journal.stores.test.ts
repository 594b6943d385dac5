import { beforeAll, expect, test } from 'vitest';
import { pointers, type Reply, signedIn, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let [one, two, token, request] = ['', '', '', ''];

beforeAll(async () => {
  one = await api.org('First of all');
  two = await api.org('Second to none');
  token = (await api.token(one)).id;
  for (const org of [one, two]) await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 3, reason: 'a start' });
  const event = requestOf({ org: one, token, atMs: Date.now(), input: 100_000, output: 0 });
  request = event.request_id;
  await post(api.db, event);
  await api.call('POST', `/api/v1/admin/orgs/${two}/deductions`, { credits: 1, reason: 'a mistake' });
});

interface Tx {
  readonly id: string;
  readonly org_id: string;
  readonly kind: string;
  readonly lines: readonly { readonly debit: { micro: number } | null; readonly credit: { micro: number } | null }[];
}
const rows = (reply: Reply): Tx[] => reply.body['data'] as unknown as Tx[];
const journal = async (query = ''): Promise<Tx[]> => {
  const reply = await api.call('GET', `/api/v1/admin/ledger${query}`);
  expect(reply.status, reply.text).toBe(200);
  return rows(reply);
};
const kinds = async (query: string): Promise<string[]> =>
  (await journal(query)).map(({ kind, org_id: org }) => `${kind} ${org === one ? 1 : 2}`);

test('200: the transactions of all organizations, newest first, with both sides of each', async () => {
  const all = await journal();
  expect(all.map(({ org_id: org }) => org)).toEqual([two, one, two, one]);
  for (const { lines } of all) {
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.reduce((sum, { debit, credit }) => sum + (credit?.micro ?? 0) - (debit?.micro ?? 0), 0)).toBe(0);
  }
});

test('200: page by page it is the same list', async () => {
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const page = await api.call('GET', `/api/v1/admin/ledger?limit=1${cursor}`);
    seen.push(...rows(page).map(({ id }) => id));
    if (page.body['next_cursor'] === null) break;
    cursor = `&cursor=${String(page.body['next_cursor'])}`;
  }
  expect(seen).toEqual((await journal()).map(({ id }) => id));
});

test('200: by organization, kind, actor and time', async () => {
  expect(await kinds(`?org_id=${one}`)).toEqual(['usage 1', 'manual 1']);
  expect(await kinds('?kind=manual')).toEqual(['manual 2', 'manual 1']);
  expect(await kinds('?actor=operator&kind=manual')).toEqual(['manual 2', 'manual 1']);
  expect(await kinds('?actor=person:usr_1')).toEqual([]);
  expect(await kinds('?to=2020-01-01T00:00:00Z')).toEqual([]);
  expect((await journal('?from=2020-01-01T00:00:00Z')).length).toBe(4);
});

test('200: by what a transaction is about: a request, itself, a grant, or an id as the books have it', async () => {
  const [newest] = await journal();
  expect(await kinds(`?reference=${request}`)).toEqual(['usage 1']);
  expect((await journal(`?reference=${newest?.id}`)).map(({ id }) => id)).toEqual([newest?.id]);
  const grant = (await api.call('GET', `/api/v1/orgs/${two}/statement`)).body as unknown as { grants: { data: { id: string }[] } };
  expect(await kinds(`?reference=${grant.grants.data[0]?.id}`)).toEqual([expect.stringMatching(/ 2$/), 'manual 2']);
  for (const nothing of ['pay_1', 'batch_00000000000000', 'req_019ab0f4c2d87c3ea1b2c3d4e5f60718', 'tx_999999'])
    expect(await journal(`?reference=${nothing}`), nothing).toEqual([]);
});

test('200: a redeemed code is found by its batch', async () => {
  const made = await api.call('POST', '/api/v1/admin/code-batches', { name: 'fair', credits: 2, count: 1 });
  const batch = made.body as unknown as { id: string; codes: string[] };
  const redeemed = await api.call('POST', `/api/v1/orgs/${one}/redemptions`, { code: batch.codes[0] });
  expect(redeemed.status, redeemed.text).toBeLessThan(300);
  expect(await kinds(`?reference=${batch.id}`)).toEqual(['redeem 1']);
});

test('400: what cannot be asked for is named', async () => {
  const wrong = await api.call('GET', "/api/v1/admin/ledger?org_id=acme&kind=gift&reference='&actor=%00");
  expect(wrong.status).toBe(400);
  expect(pointers(wrong)).toEqual(['?actor', '?kind.0', '?org_id', '?reference']);
  expect(pointers(await api.call('GET', '/api/v1/admin/ledger?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z'))).toEqual(['?to']);
});

test('200: one box finds a request, a token, a person and an organization', async () => {
  await api.db.query(`insert into people (person_id, email, name) values ($1, 'ada@example.test', 'Ada')`, [`usr_${'0'.repeat(31)}a`]);
  const found = async (q: string) => {
    const reply = await api.call('GET', `/api/v1/admin/lookup?q=${encodeURIComponent(q)}`);
    expect(reply.status, reply.text).toBe(200);
    return (reply.body['data'] as unknown as { kind: string; id: string; org_id: string | null }[]).map(({ kind, id, org_id: org }) => [
      kind,
      id,
      org,
    ]);
  };
  expect(await found(request)).toEqual([['request', request, one]]);
  expect(await found(token)).toEqual([['token', token, one]]);
  expect(await found('Ada@Example.test')).toEqual([['person', `usr_${'0'.repeat(31)}a`, null]]);
  expect(await found('second')).toEqual([['organization', two, two]]);
  expect(await found(two)).toEqual([['organization', two, two]]);
  for (const nothing of ['%', "' or 1=1 --", 'req_1']) expect(await found(nothing), nothing).toEqual([]);
});

test('403: nobody but the operator sees either', async () => {
  for (const path of ['ledger', 'lookup?q=x'])
    expect((await api.call('GET', `/api/v1/admin/${path}`, undefined, signedIn('usr_1'))).status, path).toBe(403);
});
