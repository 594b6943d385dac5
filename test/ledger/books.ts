import { inject } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { type ChargeEvent, textUsage } from '../../src/domain/charge.js';
import { newOrgId, newRequestId, newTokenId, type OrgId, type TokenId } from '../../src/domain/ids.js';
import { type GrantOrder, postGrant } from '../../src/ledger/post.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { asAdmin, freshDatabase } from '../support/postgres.js';

export interface Books {
  readonly db: Database;
  readonly url: string;
  close(): Promise<void>;
}

/** A migrated database of its own. */
export async function openBooks(max = 4): Promise<Books> {
  const database = await freshDatabase(inject('databaseUrl'));
  const db = openDatabase({ url: database.url, max });
  return {
    db,
    url: database.url,
    close: async () => {
      await db.close();
      await database.drop();
    },
  };
}

export interface Customer {
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
}

export async function newCustomer(db: Database, terms: { timeZone?: string; shard?: number } = {}): Promise<Customer> {
  const orgId = newOrgId(terms.shard);
  const tokenId = newTokenId(orgId);
  await db.query('insert into organizations (org_id, name, time_zone) values ($1, $2, $3)', [orgId, 'Test', terms.timeZone ?? 'UTC']);
  await db.query("insert into tokens (token_id, org_id, name, digest) values ($1, $2, 'test', $3)", [tokenId, orgId, '0'.repeat(64)]);
  return { orgId, tokenId };
}

let keys = 0;

export function give(db: Database, customer: Customer, amount: number, terms: Partial<GrantOrder> = {}) {
  const key = `test:${++keys}`;
  return postGrant(db, { orgId: customer.orgId, key, kind: 'topup', amount, category: 'paid', source: 'cash:manual', ...terms });
}

/** A charge whose breakdown makes exactly its cost. */
export function charge(customer: Customer, cost: number, fields: Partial<ChargeEvent> = {}): ChargeEvent {
  const total = cost + (fields.operator_loss ?? 0);
  return {
    request_id: newRequestId(),
    org_id: customer.orgId,
    token_id: customer.tokenId,
    kind: 'final',
    status: 'complete',
    model: 'fake-model',
    served_model: 'fake-model',
    endpoint: 'chat.completions',
    upstream: 'fake',
    stream: false,
    http_status: 200,
    cost,
    held: cost,
    debt: false,
    operator_loss: 0,
    source: 'upstream',
    usage: textUsage(total, 1),
    price_version: 'test',
    breakdown: { lines: total > 0 ? [{ meter: 'input', quantity: total, rate: '1' }] : [], times: '1' },
    client_request_id: null,
    end_user: null,
    agent: null,
    conversation: null,
    finish_reason: 'stop',
    latency_ms: 1,
    ttft_ms: null,
    flags: [],
    attempts: 1,
    ...fields,
  };
}

export const batch = (...events: readonly ChargeEvent[]): string[] => events.map((event) => JSON.stringify(event));

/** What is left of each grant, by grant id, oldest first. */
export async function leftOf(db: Database, orgId: OrgId): Promise<number[]> {
  const rows = await db.query<{ balance: number }>(
    'select balance from ledger_accounts where org_id = $1 and grant_id is not null order by grant_id',
    [orgId],
  );
  return rows.map((row) => row.balance);
}

/** All sentences reconcile has to say; none is what every test should end with. */
export async function findings(db: Database): Promise<readonly string[]> {
  return (await reconcile({ db })).findings.map((finding) => finding.sentence);
}

/** Damage that the product itself could never do: with all triggers off. */
export async function damage(url: string, statement: string): Promise<void> {
  await asAdmin(url, (sql) => sql.unsafe(`set session_replication_role = replica; ${statement}`));
}
