import { beforeAll, describe, expect, test } from 'vitest';
import { SCOPE_NAMES, type Scope } from '../../src/accounts/keys/scopes.js';
import { PERMISSIONS, type Permission } from '../../src/accounts/roles/permissions.js';
import { apiRoutes } from '../../src/api/app.js';
import { COMPAT_PATHS } from '../../src/api/compat/compat.js';
import { newKeyId, newTokenId, type OrgId } from '../../src/domain/ids.js';
import { newManagementSecret, newOperatorKey, newTokenSecret } from '../../src/domain/secrets.js';
import { read } from '../support/source.js';
import { managementKey, member, person, type Somebody } from './cast.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';
import { allows, allowsKey, allowsOperator, PRESETS, ROWS, type Row, rendered } from './roleTable.js';

const api = useApi();
const UNKNOWN_ORG = 'org_07AAAAAAAAAAAAAA';

/** What became of a call, as far as the guard decides it; `in` is everything that happens behind it. */
type Outcome = 'in' | 'unauthorized' | 'forbidden' | 'wrong_credential' | 'foreign' | 'step_up_required' | 'foreign_origin';

interface Reply {
  readonly outcome: Outcome;
  readonly status: number;
  /** All but the id of the request. */
  readonly text: string;
}

interface Case {
  readonly name: string;
  readonly as: Record<string, string>;
  expected(row: Row): Outcome;
}

/** Well-formed ids that nothing has. */
const NOTHING: Readonly<Record<string, string>> = {
  '{token}': 'tok_07AAAAAAAAAAAA',
  '{request_id}': 'req_019ab0f4c2d87c3ea1b2c3d4e5f60718',
  '{key}': 'key_00000000000000',
  '{operator_key}': 'opk_00000000000000',
  '{role}': 'role_00000000000000',
  '{batch}': 'batch_0000000000000000',
  '{code}': 'code_00000000000000000000000000000000',
  '{person}': 'usr_00000000000000000000000000000000',
  '{invite}': 'inv_00000000000000000000000000000000',
  '{session}': 'ses_00000000000000000000000000000000',
  '{date}': '2026-11-20',
  '{transaction}': 'tx_999999999',
  '{grant}': 'grant_999999999',
  '{aside}': 'aside_999999999',
  '{version}': 'pv_0123456789abcdef',
  '{provider}': 'nowhere',
};

const concrete = (path: string, org: string, ids: Readonly<Record<string, string>> = NOTHING): string =>
  path.replace('{org}', org).replaceAll(/\{\w+\}/g, (name) => ids[name] ?? NOTHING[name] ?? name);

async function send(method: string, path: string, headers: Record<string, string>, body: unknown = { matrix: true }): Promise<Reply> {
  const sent = method === 'GET' ? undefined : JSON.stringify(body);
  const response = await api.app.request(`http://farebox.test${path}`, {
    method,
    headers: { 'x-forwarded-for': `of ${headers['name'] ?? 'nobody'}`, 'content-type': 'application/json', ...headers },
    ...(sent === undefined ? {} : { body: sent }),
  });
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    await response.body?.cancel();
    return { outcome: 'in', status: response.status, text: '' };
  }
  const text = (await response.text()).replaceAll(/req_[0-9a-f]{32}/g, '');
  return { outcome: outcomeOf(response.status, text), status: response.status, text };
}

function outcomeOf(status: number, text: string): Outcome {
  if (status === 401) return 'unauthorized';
  if (status === 403) return (JSON.parse(text) as { code: Outcome }).code;
  if (status === 404 && text.includes('There is no organization with this id.')) return 'foreign';
  return 'in';
}

/** Several at a time, and everything that went otherwise at once. */
async function differences(works: readonly (() => Promise<string | undefined>)[]): Promise<string[]> {
  const found: string[] = [];
  const queue = [...works];
  const worker = async (): Promise<void> => {
    for (let work = queue.shift(); work; work = queue.shift()) {
      const said = await work();
      if (said !== undefined) found.push(said);
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return found.sort();
}

let org = '';
let other = '';
const cases: Case[] = [];
const ofPreset = new Map<string, Somebody>();
let stranger: Somebody;
let everyScope: Somebody;

const memberCase = (name: string, as: Record<string, string>, permissions: readonly Permission[]): Case => ({
  name,
  as: { ...as, name },
  expected: (row) => {
    if (row.people === 'public' || row.people === 'session') return 'in';
    return row.ofOrg && allows(row, permissions) !== 'no' ? 'in' : 'forbidden';
  },
});

const keyCase = (name: string, as: Record<string, string>, scopes: readonly Scope[]): Case => ({
  name,
  as: { ...as, name },
  expected: (row) => {
    if (row.people === 'public') return 'in';
    if (!row.ofOrg || row.keys === '-') return 'wrong_credential';
    return allowsKey(row, scopes) ? 'in' : 'forbidden';
  },
});

const onlyPublic = (name: string, as: Record<string, string>, otherwise: Outcome): Case => ({
  name,
  as: { ...as, name },
  expected: (row) => (row.people === 'public' ? 'in' : otherwise),
});

beforeAll(async () => {
  [org, other] = [await api.org('Own'), await api.org('Other')];
  for (const [role, permissions] of Object.entries(PRESETS)) {
    const one = await member(api, org, role);
    ofPreset.set(role, one);
    cases.push(memberCase(`the preset ${role}`, one.as, permissions));
  }
  cases.push(memberCase('a role without permissions', (await member(api, org, [])).as, []));
  for (const permission of PERMISSIONS)
    cases.push(memberCase(`a role with ${permission} alone`, (await member(api, org, [permission])).as, [permission]));
  for (const scope of SCOPE_NAMES) cases.push(keyCase(`a key with ${scope} alone`, (await managementKey(api, org, scope)).as, [scope]));
  everyScope = await managementKey(api, org, ...SCOPE_NAMES);
  cases.push(keyCase('a key with every scope', everyScope.as, SCOPE_NAMES));
  for (const [letter, operatorRole] of [
    ['A', 'operator.admin'],
    ['S', 'operator.support'],
    ['F', 'operator.finance'],
  ] as const) {
    const { as } = await person(api, { operatorRole });
    cases.push({
      name: operatorRole,
      as: { ...as, name: letter },
      expected: (row) => (row.people === 'self' ? 'foreign' : allowsOperator(row, letter) ? 'in' : 'forbidden'),
    });
  }
  const operator = { authorization: `Bearer ${OPERATOR_KEY}`, name: 'operator' };
  cases.push({
    name: 'the operator key',
    as: operator,
    expected: (row) => (row.people === 'session' || row.people === 'self' ? 'wrong_credential' : 'in'),
  });
  stranger = await person(api);
  const { secret } = await api.token(org);
  cases.push(
    onlyPublic('nobody', {}, 'unauthorized'),
    onlyPublic('an API token', { authorization: `Bearer ${secret}` }, 'wrong_credential'),
    onlyPublic('an API token nobody has', { authorization: `Bearer ${newTokenSecret(newTokenId(org as OrgId))}` }, 'wrong_credential'),
    onlyPublic('a key nobody has', { authorization: `Bearer ${newManagementSecret(newKeyId())}` }, 'unauthorized'),
    onlyPublic('another operator key', { authorization: `Bearer ${newOperatorKey()}` }, 'unauthorized'),
  );
});

describe('the table', () => {
  test('has every route there is, and no other', () => {
    const named = ROWS.map(({ method, path }) => `${method} ${path}`).sort();
    const there = apiRoutes(api.deps).map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(named).toEqual(there.sort());
  });

  test('is what docs/roles.md says', () => {
    const page = read('docs/roles.md');
    const { presets, routes } = rendered();
    const wanted = [...presets.split('\n'), ...routes.split('\n')];
    const shown = page.split('\n').filter((line) => /^\| (?:`[A-Z]+ |`\w+\.)/.test(line));
    expect(
      wanted.filter((line) => !page.includes(`${line}\n`)),
      'lines to add',
    ).toEqual([]);
    expect(
      shown.filter((line) => !wanted.includes(line)),
      'lines to take out',
    ).toEqual([]);
    for (const scope of SCOPE_NAMES) expect(page).toContain(`\`${scope}\``);
  });
});

describe('every route × everybody', () => {
  // T4
  test('in their own organization everybody gets in exactly where the table says', async () => {
    const works = cases.flatMap((one) =>
      ROWS.map((row) => async () => {
        const reply = await send(row.method, concrete(row.path, org), one.as);
        const expected = one.expected(row);
        if (reply.status >= 500) return `${one.name}: ${row.method} ${row.path}: ${reply.text}`;
        return reply.outcome === expected ? undefined : `${one.name}: ${row.method} ${row.path}: ${reply.outcome}, not ${expected}`;
      }),
    );
    expect(works.length).toBeGreaterThan(3_000);
    expect(await differences(works)).toEqual([]);
  });

  test('organizations of others look exactly like those that do not exist', async () => {
    const outsiders = [...ofPreset.values(), stranger, everyScope];
    const works = outsiders.flatMap(({ as, id }) =>
      ROWS.filter(({ ofOrg }) => ofOrg).map((row) => async () => {
        const [theirs, nobodys] = await Promise.all(
          [other, UNKNOWN_ORG].map((one) => send(row.method, concrete(row.path, one), { ...as, name: id })),
        );
        const same = theirs?.status === 404 && theirs.outcome === 'foreign' && theirs.text === nobodys?.text;
        return same ? undefined : `${row.method} ${row.path}: ${theirs?.status} ${theirs?.text} / ${nobodys?.text}`;
      }),
    );
    expect(works.length).toBeGreaterThan(250);
    expect(await differences(works)).toEqual([]);
  });

  test('without the organization in the path it is the same, for a key and for who has only one organization', async () => {
    const works = [everyScope, ...ofPreset.values()].flatMap(({ as, id }) =>
      ROWS.filter(({ ofOrg }) => ofOrg).map((row) => async () => {
        const long = await send(row.method, concrete(row.path, org), { ...as, name: id });
        const path = `/api/v1${row.path.slice('/api/v1/orgs/{org}'.length) || '/org'}`;
        const short = await send(row.method, concrete(path, ''), { ...as, name: id });
        return long.outcome === short.outcome && long.status === short.status
          ? undefined
          : `${row.method} ${path}: ${short.status} ${short.outcome}, not ${long.status} ${long.outcome}`;
      }),
    );
    expect(await differences(works)).toEqual([]);
  });
});

/** What it takes to get as far as looking for the thing that is named. */
const BODIES: Readonly<Record<string, unknown>> = {
  'POST /api/v1/orgs/{org}/tokens/{token}/quota': { op: 'set', amount: 1 },
  'PATCH /api/v1/orgs/{org}/tokens/{token}': { name: 'taken over' },
  'PATCH /api/v1/orgs/{org}/management-keys/{key}': { name: 'taken over' },
  'PATCH /api/v1/orgs/{org}/roles/{role}': { name: 'taken over' },
  'PATCH /api/v1/orgs/{org}/members/{person}': { role_id: 'admin' },
};

const QUERIES: Readonly<Record<string, string>> = { 'DELETE /api/v1/orgs/{org}/members/{person}': '?tokens=keep' };

describe('what belongs to others', () => {
  const withIds = ROWS.filter(({ ofOrg, path }) => ofOrg && /\{(?!org|date)\w+\}/.test(path));
  let theirs: Readonly<Record<string, string>> = {};

  const thingsOf = async (orgId: string): Promise<Record<string, string>> => {
    const token = await api.token(orgId);
    const event = requestOf({ org: orgId, token: token.id, atMs: Date.now() });
    await post(api.db, event);
    const role = await api.call('POST', `/api/v1/orgs/${orgId}/roles`, { name: `Role of ${token.id}`, permissions: ['logs.read'] });
    const key = await managementKey(api, orgId, 'logs:read');
    const invited = await api.db.one<{ id: string }>(
      `insert into invitations (invitation_id, org_id, email, role_id, digest, invited_by, expires_at)
       values ('inv_' || md5($1), $1, 'x@example.test', 'viewer', repeat(md5($1), 2), 'test', now() + interval '1 day') returning invitation_id as id`,
      [orgId],
    );
    const colleague = await member(api, orgId, 'viewer');
    return {
      '{invite}': invited?.id ?? '',
      '{person}': colleague.id,
      '{token}': token.id,
      '{request_id}': event.request_id,
      '{role}': String(role.body['id']),
      '{key}': key.id,
    };
  };

  beforeAll(async () => {
    theirs = await thingsOf(other);
  });

  const compare = async (who: Somebody, rows: readonly Row[], ids: Readonly<Record<string, string>>): Promise<string[]> => {
    const lines = () => api.db.one<{ count: number }>('select count(*)::int as count from audit_log');
    const before = await lines();
    const works = rows.map((row) => async () => {
      const body = BODIES[`${row.method} ${row.path}`] ?? {};
      const query = QUERIES[`${row.method} ${row.path}`] ?? '';
      const [foreign, nothing] = await Promise.all(
        [ids, NOTHING].map((one) => send(row.method, concrete(row.path, org, one) + query, { ...who.as, name: who.id }, body)),
      );
      const same = foreign?.status === 404 && foreign.text === nothing?.text;
      return same ? undefined : `${row.method} ${row.path}: ${foreign?.status} ${foreign?.text} / ${nothing?.text}`;
    });
    const found = await differences(works);
    expect(await lines(), 'nothing was changed').toEqual(before);
    return found;
  };

  // T1
  test('things of another organization look exactly like things that do not exist', async () => {
    expect(withIds.length).toBeGreaterThan(12);
    const owner = ofPreset.get('owner') ?? stranger;
    expect(await compare(owner, withIds, theirs)).toEqual([]);
    expect(
      await compare(
        everyScope,
        withIds.filter(({ keys }) => keys !== '-'),
        theirs,
      ),
    ).toEqual([]);
  });

  test('for a developer so do the tokens and requests of colleagues', async () => {
    const developer = ofPreset.get('developer') ?? stranger;
    const own = withIds.filter((row) => allows(row, PRESETS['developer'] ?? []) === 'own');
    expect(own.length).toBeGreaterThan(7);
    expect(await compare(developer, own, await thingsOf(org))).toEqual([]);
  });
});

describe('further demands', () => {
  test('a proof of the last ten minutes is asked of people exactly where the table says', async () => {
    const stale = { authenticatedAt: new Date(Date.now() - 601_000) };
    const owner = await member(api, org, 'owner', stale);
    const admin = await person(api, { ...stale, operatorRole: 'operator.admin' });
    const works = ROWS.map((row) => async () => {
      const { as, id } = row.ofOrg ? owner : admin;
      const { outcome } = await send(row.method, concrete(row.path, org), { ...as, name: id });
      const expected = row.demands.has('proof') ? 'step_up_required' : 'in';
      return outcome === expected ? undefined : `${row.method} ${row.path}: ${outcome}, not ${expected}`;
    });
    expect(await differences(works)).toEqual([]);
  });

  // W3
  test('a change with a cookie comes from a page of this server, on every route that asks who it is', async () => {
    const owner = await member(api, org, 'owner', { operatorRole: 'operator.admin' });
    const { origin: _, ...without } = owner.as;
    const works = ROWS.filter(({ people }) => people !== 'public').flatMap((row) =>
      [without, { ...without, origin: 'http://elsewhere.test' }, { ...without, origin: 'null' }].map((as) => async () => {
        const { outcome } = await send(row.method, concrete(row.path, org), { ...as, name: owner.id });
        const expected = row.method === 'GET' ? 'in' : 'foreign_origin';
        return outcome === expected ? undefined : `${row.method} ${row.path} from ${as['origin']}: ${outcome}, not ${expected}`;
      }),
    );
    expect(await differences(works)).toEqual([]);
  });

  test('people and keys name their request where the table says; the operator key may', async () => {
    const owner = await member(api, org, 'owner', { operatorRole: 'operator.admin' });
    const operator = { id: 'operator', as: { authorization: `Bearer ${OPERATOR_KEY}` } };
    const works = ROWS.filter(({ method, people }) => method === 'POST' && people !== 'public').flatMap((row) =>
      [owner, everyScope, operator].map((who) => async () => {
        const { text, outcome } = await send(row.method, concrete(row.path, org), { ...who.as, name: who.id });
        if (outcome !== 'in') return undefined;
        const expected = row.demands.has('key') && who !== operator;
        return text.includes('"pointer":"Idempotency-Key"') === expected ? undefined : `${row.method} ${row.path} by ${who.id}: ${text}`;
      }),
    );
    expect(await differences(works)).toEqual([]);
  });

  test('If-Match is read where the table says', async () => {
    const works = ROWS.filter(({ method, people }) => method !== 'GET' && people !== 'public' && people !== 'session').map(
      (row) => async () => {
        const headers = { authorization: `Bearer ${OPERATOR_KEY}`, 'if-match': 'not an etag', name: 'operator' };
        const { text } = await send(row.method, concrete(row.path, org), headers);
        return text.includes('"pointer":"If-Match"') === row.demands.has('etag') ? undefined : `${row.method} ${row.path}: ${text}`;
      },
    );
    expect(await differences(works)).toEqual([]);
  });
});

// A10
test('on /v1 no key and no cookie of the management API is worth anything', async () => {
  const credentials = [everyScope.as, { authorization: `Bearer ${OPERATOR_KEY}` }, ofPreset.get('owner')?.as ?? {}];
  expect(COMPAT_PATHS.length).toBeGreaterThan(5);
  for (const path of COMPAT_PATHS)
    for (const as of credentials) {
      const response = await api.app.request(`http://farebox.test${path}`, { headers: as });
      expect([response.status, ((await response.json()) as { error: { code: string } }).error.code], path).toEqual([
        401,
        'invalid_api_key',
      ]);
    }
});
