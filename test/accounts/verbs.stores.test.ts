import { expect, test } from 'vitest';
import { claimKey } from '../../src/accounts/claimKey.js';
import type { AccountsContext } from '../../src/accounts/context.js';
import { createOrg } from '../../src/accounts/createOrg.js';
import { createToken } from '../../src/accounts/createToken.js';
import { updateToken } from '../../src/accounts/updateToken.js';
import type { OrgId, TokenId } from '../../src/domain/ids.js';
import { useApi } from '../api/harness.js';

const api = useApi();
const context = (): AccountsContext => ({ ...api.deps, actor: { kind: 'system', part: 'test' } });

test('a change and its line in the audit log happen together or not at all', async () => {
  const made = await createOrg({ ctx: context(), input: { name: 'Acme' } });
  if (made.kind !== 'created') throw new Error(made.kind);
  const orgId = made.org.org_id as OrgId;
  const before = await api.db.one<{ lines: number }>('select count(*)::int as lines from audit_log');
  const change = {
    ctx: context(),
    orgId,
    tokenId: 'tok_07AAAAAAAAAAAA' as TokenId,
    ownerId: null,
    action: 'token.update',
    ifMatch: null,
  } as const;
  expect((await updateToken({ ...change, changes: { name: 'x' } })).kind).toBe('unknown_token');
  await expect(createToken({ ctx: context(), orgId, input: { name: '' } })).rejects.toMatchObject({ code: '23514' });
  expect(await api.db.one('select count(*)::int as lines from audit_log')).toEqual(before);
});

test('nothing but the changed columns is in the audit line, and no digest ever', async () => {
  const org = await api.org();
  const { id } = await api.token(org, { quota: 5 });
  await api.call('POST', `/api/v1/orgs/${org}/tokens/${id}/rotate`, { grace_seconds: 5 });
  await api.call('PATCH', `/api/v1/orgs/${org}/tokens/${id}`, { quota: 6 });
  const rows = await api.db.query<{ action: string; details: Record<string, object> }>(
    'select action, details from audit_log where subject = $1 order by id desc',
    [id],
  );
  expect(rows[0]).toEqual({ action: 'token.update', details: { before: { quota_total: 5_000_000 }, after: { quota_total: 6_000_000 } } });
  expect(Object.keys(rows[1]?.details['after'] ?? {}).sort()).toEqual(['grace_ends_at', 'last_four']);
  expect(JSON.stringify(rows)).not.toMatch(/digest|[0-9a-f]{64}/);
});

test('a key stands for the first request for 24 hours, then for the next', async () => {
  const claim = (request: unknown, memo: string) => claimKey({ ctx: context(), key: { scope: 's', key: 'k', request }, memo });
  expect(await claim({ a: 1 }, 'first')).toEqual({ kind: 'claimed', memo: 'first', repeated: false });
  expect(await claim({ a: 1 }, 'second')).toEqual({ kind: 'claimed', memo: 'first', repeated: true });
  expect(await claim({ a: 2 }, 'third')).toEqual({ kind: 'mismatch' });
  await api.db.query("update idempotency_keys set expires_at = now() - interval '1 second'");
  expect(await claim({ a: 2 }, 'fourth')).toEqual({ kind: 'claimed', memo: 'fourth', repeated: false });
});
