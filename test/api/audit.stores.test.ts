import { expect, test } from 'vitest';
import { OPERATOR_KEY, signedIn, useApi } from './harness.js';

const api = useApi();

interface Line {
  readonly id: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string | null;
  readonly ip: string | null;
}

const lines = async (query: string, headers: Record<string, string> = {}): Promise<Line[]> =>
  (await api.call('GET', `/api/v1/admin/audit?${query}`, undefined, headers)).body['data'] as unknown as Line[];

const at = (address: string) => ({ 'x-forwarded-for': address });

const file = async (query: string): Promise<{ text: string; type: string | null; name: string | null }> => {
  const answer = await api.app.request(`http://farebox.test/api/v1/admin/audit/export?${query}`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}` },
  });
  expect(answer.status).toBe(200);
  return { text: await answer.text(), type: answer.headers.get('content-type'), name: answer.headers.get('content-disposition') };
};

test('200: a line says from where its act was asked for, in whatever statement or function it was written', async () => {
  const made = await api.call('POST', '/api/v1/admin/orgs', { name: 'Far away' }, at('203.0.113.7'));
  const org = String(made.body['id']);
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 5, reason: 'a gift' }, at('2001:DB8::1'));
  await api.call('POST', `/api/v1/admin/orgs/${org}/deductions`, { credits: 1, reason: 'too much' }, at('198.51.100.4'));
  expect((await lines(`org_id=${org}`)).map(({ action, ip }) => [action, ip])).toEqual([
    [expect.stringMatching(/deduct/), '198.51.100.4'],
    [expect.stringMatching(/grant/), '2001:db8::1'],
    ['org.create', '203.0.113.7'],
  ]);
});

test('200: what is no address is not noted, and no value can be taken for one', async () => {
  for (const address of ["1.2.3.4 */ ' drop", 'nobody', '1.2.3.4 */ /* asked from 6.6.6.6']) {
    const made = await api.call('POST', '/api/v1/admin/orgs', { name: 'x /* asked from 9.9.9.9 */' }, at(address));
    expect((await lines(`org_id=${String(made.body['id'])}`)).map(({ ip }) => ip)).toEqual([null]);
  }
});

test('200: people of the operator who look into an organization leave a line, once in a while; members and programs of the server do not', async () => {
  const org = await api.org();
  const views = async () => (await lines(`org_id=${org}&action=org.view`)).map(({ actor, subject, ip }) => ({ actor, subject, ip }));
  const support = { ...signedIn('usr_00000000000000000000000000000001', { operatorRole: 'operator.support' }), ...at('192.0.2.9') };
  await api.call('GET', `/api/v1/orgs/${org}/balance`);
  expect(await views()).toEqual([]);
  for (const page of ['balance', 'logs', 'tokens', 'balance'])
    expect((await api.call('GET', `/api/v1/orgs/${org}/${page}`, undefined, support)).status, page).toBe(200);
  const line = { actor: 'person:usr_00000000000000000000000000000001', subject: org, ip: '192.0.2.9' };
  expect(await views()).toEqual([line]);
  const finance = signedIn('usr_00000000000000000000000000000002', { operatorRole: 'operator.finance' });
  await api.call('GET', '/api/v1/balance', undefined, { ...finance, 'x-organization': org });
  expect(await views()).toEqual([{ ...line, actor: 'person:usr_00000000000000000000000000000002', ip: null }, line]);
});

test('404: looking into an organization that does not exist leaves nothing', async () => {
  const support = signedIn('usr_00000000000000000000000000000003', { operatorRole: 'operator.support' });
  expect((await api.call('GET', '/api/v1/orgs/org_07zzzzzzzzzzzzzz/balance', undefined, support)).status).toBe(404);
  expect(await lines('actor=person:usr_00000000000000000000000000000003')).toEqual([]);
});

test('200: the export has every line of a filter, and a spreadsheet runs none of it', async () => {
  const org = await api.org();
  await api.db.query(`insert into audit_log (org_id, actor, action, subject) values ($1, '=cmd()', 'test.formula', '@SUM(1)')`, [org]);
  const csv = await file(`org_id=${org}`);
  expect(csv.type).toBe('text/csv; charset=utf-8');
  expect(csv.name).toMatch(/^attachment; filename="audit-\d{4}-\d\d-\d\d\.csv"$/);
  const [head, formula, created, end] = csv.text.split('\r\n');
  expect(head).toBe('line,time (UTC),organization,actor,action,subject,ip,details,hash');
  expect(formula).toContain(",'=cmd(),test.formula,'@SUM(1),");
  expect(created).toContain('org.create');
  expect(end).toBe('');
  const ndjson = await file(`org_id=${org}&format=ndjson&action=org`);
  expect(ndjson.type).toBe('application/x-ndjson');
  expect(
    ndjson.text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as Line).action),
  ).toEqual(['org.create']);
});

test('200: the chain is whole, and a changed line breaks it', async () => {
  const whole = (await api.call('GET', '/api/v1/admin/audit/verify')).body;
  const [newest] = await lines('limit=1');
  expect(whole).toMatchObject({ clean: true, findings: [], lines: newest?.id, last: { id: newest?.id } });
  const [some] = await lines('action=org.create&limit=1');
  await api.db.script(`alter table audit_log disable trigger audit_log_rows; update audit_log set ip = '1.1.1.1' where id = ${some?.id};
    alter table audit_log enable trigger audit_log_rows`);
  const broken = (await api.call('GET', '/api/v1/admin/audit/verify')).body;
  expect(broken).toMatchObject({ clean: false, findings: [{ line: String(some?.id) }] });
});
