import { describe, expect, test } from 'vitest';
import type { PriceSource } from '../../src/domain/prices.js';
import { storePriceVersion } from '../../src/ledger/priceVersions.js';
import { buildBook } from '../../src/pricing/book.js';
import { OPERATOR_KEY, pointers, useApi } from './harness.js';

const api = useApi();
const PATH = '/api/v1/admin/prices';
const check = (yaml: string) => api.call('POST', `${PATH}/check`, { yaml });

// The prices of the harness, as a person would write them.
const SAME =
  'credits: { value: 0.01 USD, base: 200 }\ndefault_prices: false\ngroups: { vip: 0.8 }\npart_bounds: { image: null, audio: null, file: null }\n';

describe('POST /api/v1/admin/prices/check', () => {
  test('200: a draft of what is in force changes nothing', async () => {
    const { body } = await check(SAME);
    expect(body).toMatchObject({ ok: true, findings: [], models: { total: 0, changes: [] }, groups: [], meters: [] });
    expect(body['version']).toBe(body['running_version']);
  });

  test('200: what a draft would change, worked out, and nothing is applied', async () => {
    const draft = `${SAME.replace('0.8', '0.7')}models:\n  gpt-4o-mini: { ratio: 0.075, output: 4x }\n  demo: { ratio: 0.15, output: 4x }\nmeters:\n  kb_query: { label: Query, per: query, price: 1 }\n`;
    const { body } = await check(draft);
    expect(body).toMatchObject({
      ok: true,
      models: {
        total: 2,
        changes: [
          {
            name: 'demo',
            kind: 'changed',
            before: { typical: { credits: '0.075' } },
            after: { typical: { credits: '0.15' }, origin: 'config' },
          },
          { name: 'gpt-4o-mini', kind: 'added', before: null, after: { typical: { credits: '0.075' } } },
        ],
      },
      groups: [{ name: 'vip', kind: 'changed', before: { times: '0.8' }, after: { times: '0.7' } }],
      meters: [{ name: 'kb_query', kind: 'added', after: { unit: 'query', price: '1' } }],
    });
    expect(body['version']).not.toBe(body['running_version']);
    expect((await api.call('GET', PATH)).body['version']).toBe(body['running_version']);
  });

  test('200: mistakes with line and column, all at once', async () => {
    const { body } = await check('credits: { base: none }\nmodels:\n  a: { ratio: -1, output: 4x }\n  b: { like: nobody }\nmodls: {}\n');
    expect(body).toMatchObject({ ok: false, version: null, models: { total: 0 } });
    const found = body['findings'] as unknown as { line: number; column: number; path: string; message: string }[];
    expect(found.map(({ line, path }) => [line, path])).toEqual([
      [1, 'credits.base'],
      [3, 'models.a.ratio'],
      [5, 'modls'],
    ]);
    expect(found[1]).toMatchObject({ column: 15, message: expect.stringContaining('-1') });
    expect((await check('models: { a: { like: nobody } }\ndefault_prices: true\n')).body).toMatchObject({
      ok: false,
      findings: [{ line: 0, message: expect.stringContaining('nobody') }],
    });
    expect((await check('a: [')).body).toMatchObject({ ok: false });
  });

  test('a draft learns nothing of the machine it is checked on', async () => {
    process.env['SECRET_OF_THE_SERVER'] = '0.5';
    const { body, text } = await check(
      'models: { a: { ratio: "${SECRET_OF_THE_SERVER}", output: 4x }, b: { ratio: "${file:/etc/hostname}", output: 4x }, c: { ratio: "${NOT_SET}", output: 4x } }\n',
    );
    expect(body).toMatchObject({ ok: false });
    expect((body['findings'] as unknown as { message: string }[]).map(({ message }) => message)).toEqual(
      ['${SECRET_OF_THE_SERVER}', '${file:/etc/hostname}', '${NOT_SET}'].map(
        (name) => `${name} is not looked up for a draft: write the value itself.`,
      ),
    );
    expect(text).not.toContain('which is not set');
    expect(
      (await check('upstreams: { a: { base_url: "http://169.254.169.254", api_key: "${SECRET_OF_THE_SERVER}" } }\n')).body,
    ).toMatchObject({ findings: [] });
  });

  test('400: what is no text, or too much of it', async () => {
    expect(pointers(await api.call('POST', `${PATH}/check`, { yaml: 7, apply: true }))).toEqual(['/apply', '/yaml']);
    expect((await check('#'.repeat(900_001))).status).toBe(400);
    expect((await check(`${'- '.repeat(40_000)}x`)).body['ok']).toBe(false);
  });
});

test('GET /api/v1/admin/prices shows what is in force, and every version there was', async () => {
  const running = api.deps.prices();
  const { source } = JSON.parse(running.canonical) as { source: PriceSource };
  const older = buildBook({ ...source, groups: [] });
  await storePriceVersion(api.db, older);
  await storePriceVersion(api.db, running);
  const { body } = await api.call('GET', `${PATH}?q=DEM`);
  expect(body).toMatchObject({
    version: running.version,
    in_force_since: expect.any(String),
    groups: [{ name: 'vip', times: '0.8' }],
    models: [{ model: 'demo' }],
  });
  expect((await api.call('GET', `${PATH}?q=nothing`)).body).toMatchObject({ total: 1, models: [] });
  const first = await api.call('GET', `${PATH}/versions?limit=1`);
  const second = await api.call('GET', `${PATH}/versions?limit=1&cursor=${first.body['next_cursor']}`);
  expect([first.body['data'], second.body['data'], second.body['has_more']]).toMatchObject([
    [{ version: running.version, current: true }],
    [{ version: older.version, current: false }],
    false,
  ]);
  expect((await api.call('GET', `${PATH}/versions/${older.version}`)).body).toMatchObject({
    source: { groups: [], credits: { base: '200' } },
  });
  for (const id of ['pv_0000000000000000', 'pv_', '1']) expect((await api.call('GET', `${PATH}/versions/${id}`)).status).toBe(404);
  const posted = await api.app.request(`http://farebox.test${PATH}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${OPERATOR_KEY}` },
  });
  expect(posted.status, 'there is no way to apply prices here').toBe(405);
});
