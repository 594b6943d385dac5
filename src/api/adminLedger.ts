import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { isOrgId } from '../domain/ids.js';
import { listGrantCharges, requestsOf } from '../ledger/charges.js';
import {
  everyTransaction,
  type Line,
  listTransactions,
  readTransaction,
  TRANSACTION_KINDS,
  type Transaction,
  type TransactionFilter,
} from '../ledger/transactions.js';
import { createCursors } from './cursor.js';
import { GrantIdIn } from './deductions.js';
import { type ApiDeps, shown } from './deps.js';
import { isProblem, listOf } from './logQuery.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, invalid, notFound, type Problem } from './problem.js';
import { answer, idParam, type Route, route, streamed } from './route.js';
import { AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, timeOut } from './schemas.js';
import { csvLine, textStream } from './table.js';

const LineSchema = z.strictObject({
  account: z.string(),
  /** Whether the account is the organization's; the others are the operator's. */
  own: z.boolean(),
  grant_id: z.string().nullable(),
  /** What left the account, and what came to it; one of the two. */
  debit: AmountOutSchema.nullable(),
  credit: AmountOutSchema.nullable(),
  /** Of accounts of the organization. */
  balance_after: AmountOutSchema.nullable(),
});

export const TransactionSchema = z
  .strictObject({
    id: z.string(),
    time: TimeOut,
    kind: z.enum(TRANSACTION_KINDS),
    reference: z.strictObject({ type: z.string(), id: z.string().nullable() }).nullable(),
    reason: z.string().nullable(),
    actor: z.string().nullable(),
    /** They add up to 0. */
    lines: z.array(LineSchema),
  })
  .openapi('Transaction');

const PaidRequestSchema = z.strictObject({ request_id: z.string(), amount: AmountOutSchema });

const GrantChargeSchema = z
  .strictObject({
    transaction_id: z.string(),
    time: TimeOut,
    amount: AmountOutSchema,
    balance_after: AmountOutSchema,
    requests_total: z.int(),
    /** The first hundred; all of them are with the transaction. */
    requests: z.array(PaidRequestSchema),
  })
  .openapi('GrantCharge');

const Filters = z.strictObject({
  from: TimeIn.optional(),
  to: TimeIn.optional(),
  kind: listOf(z.enum(TRANSACTION_KINDS)),
  grant_id: GrantIdIn.optional(),
});

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
const PATH = '/api/v1/admin/orgs/{org}';

const numbered = (prefix: string) => {
  const isOne = (text: string): text is string => new RegExp(`^${prefix}_[1-9]\\d{0,14}$`).test(text);
  return idParam(isOne, `${prefix}_17`);
};
const numberOf = (id: string): number => Number(id.slice(id.indexOf('_') + 1));

export const adminLedgerRoutes = (deps: ApiDeps): readonly Route[] => [
  listRoute(deps),
  exportRoute(deps),
  readRoute(deps),
  chargesRoute(deps),
];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: `${PATH}/ledger`,
    permission: 'operator.any',
    summary: 'The journal of an organization, newest first: transactions with all their lines',
    tag: 'books',
    params: OrgParams,
    query: Filters.extend({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(TransactionSchema) } },
    handle: async ({ params, query }) => {
      const filter = filterOf(query);
      if (isProblem(filter)) return filter;
      const marks = ['ledger', params.org, filter];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, marks);
      if (typeof place === 'string') return badCursor(place);
      if (!(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const before = place[0] === undefined ? null : Number(place[0]);
      const page = await listTransactions(deps.db, params.org, { filter, before, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((tx) => transactionOut(deps, tx)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([String(last.tx_id)], marks) : null,
      });
    },
  });
}

const exportRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/ledger/export`,
    permission: 'operator.any',
    summary: 'All lines of a filter as CSV, newest first',
    tag: 'books',
    params: OrgParams,
    query: Filters,
    answers: { 200: { description: 'The file', schema: z.string(), type: 'text/csv' } },
    handle: async ({ params, query }) => {
      const filter = filterOf(query);
      if (isProblem(filter)) return filter;
      if (!(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const name = `ledger-${params.org}-${new Date(deps.clock.nowMs()).toISOString().slice(0, 10)}.csv`;
      const pieces = csv(everyTransaction(deps.db, params.org, filter));
      return streamed('text/csv; charset=utf-8', textStream(pieces), { 'content-disposition': `attachment; filename="${name}"` });
    },
  });

function readRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: `${PATH}/ledger/{transaction}`,
    permission: 'operator.any',
    summary: 'One transaction, and the requests it booked, oldest first',
    tag: 'books',
    params: OrgParams.extend({ transaction: numbered('tx') }),
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: {
      200: { description: 'The transaction', schema: TransactionSchema.extend({ requests: pageSchema(PaidRequestSchema) }) },
    },
    handle: async ({ params, query }) => {
      const marks = ['transaction', params.transaction];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, marks);
      if (typeof place === 'string') return badCursor(place);
      const txId = numberOf(params.transaction);
      const tx = await readTransaction(deps.db, params.org, txId);
      if (!tx) return notFound('This organization has no transaction with this id.');
      const page = await requestsOf(deps.db, params.org, { txId, after: place[0] ?? null, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        ...transactionOut(deps, tx),
        requests: {
          data: page.rows.map(({ request_id, amount }) => ({ request_id, amount: shown(deps, amount) })),
          has_more: page.hasMore,
          next_cursor: page.hasMore && last ? cursors.make([last.request_id], marks) : null,
        },
      });
    },
  });
}

function chargesRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: `${PATH}/grants/{grant}/charges`,
    permission: 'operator.any',
    summary: 'What a grant paid for, newest first, down to the requests',
    tag: 'books',
    params: OrgParams.extend({ grant: numbered('grant') }),
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(GrantChargeSchema) } },
    handle: async ({ params, query }) => {
      const marks = ['grant charges', params.org, params.grant];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, marks);
      if (typeof place === 'string') return badCursor(place);
      const before = place[0] === undefined ? null : Number(place[0]);
      const page = await listGrantCharges(deps.db, params.org, { grantId: numberOf(params.grant), before, limit: query.limit });
      if (!page) return notFound('This organization has no grant with this id.');
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((charge) => ({
          transaction_id: `tx_${charge.tx_id}`,
          time: timeOut(charge.created_at),
          amount: shown(deps, charge.amount),
          balance_after: shown(deps, charge.balance_after),
          requests_total: charge.requests_total,
          requests: charge.requests.map(({ request_id, amount }) => ({ request_id, amount: shown(deps, amount) })),
        })),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([String(last.entry_id)], marks) : null,
      });
    },
  });
}

function filterOf({ from, to, kind, grant_id: grantId }: z.output<typeof Filters>): TransactionFilter | Problem {
  if (from && to && from >= to) return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
  return { kinds: kind ?? null, from: from ? new Date(from) : null, to: to ? new Date(to) : null, grantId: grantId ?? null };
}

export function transactionOut(deps: ApiDeps, tx: Transaction): z.input<typeof TransactionSchema> {
  const amount = (micro: number) => shown(deps, micro);
  return {
    id: `tx_${tx.tx_id}`,
    time: timeOut(tx.created_at),
    kind: tx.kind,
    reference: tx.ref_type === null ? null : { type: tx.ref_type, id: referenceOf(tx) },
    reason: tx.reason,
    actor: tx.actor,
    lines: tx.lines.map((line) => ({
      account: line.account,
      own: line.own,
      grant_id: line.grant_id === null ? null : `grant_${line.grant_id}`,
      debit: line.amount < 0 ? amount(-line.amount) : null,
      credit: line.amount > 0 ? amount(line.amount) : null,
      balance_after: line.balance_after === null ? null : amount(line.balance_after),
    })),
  };
}

/** Requests by the id everybody knows; a code by nothing, because the books know it by its digest. */
function referenceOf({ ref_type: type, ref_id: id }: Transaction): string | null {
  if (type === 'request' && id !== null) return `req_${id.replaceAll('-', '')}`;
  return type === 'code' ? null : id;
}

const HEAD = [
  ...['transaction', 'time (UTC)', 'kind', 'account', 'grant', 'debit (micro-credits)', 'credit (micro-credits)'],
  ...['balance after (micro-credits)', 'reference', 'reason', 'actor'],
];

async function* csv(pages: AsyncIterable<readonly Transaction[]>): AsyncGenerator<string> {
  yield csvLine(HEAD);
  for await (const page of pages) yield page.flatMap((tx) => tx.lines.map((line) => csvLine(cellsOf(tx, line)))).join('');
}

const cellsOf = (tx: Transaction, line: Line) => [
  `tx_${tx.tx_id}`,
  timeOut(tx.created_at),
  tx.kind,
  line.account,
  line.grant_id === null ? null : `grant_${line.grant_id}`,
  line.amount < 0 ? -line.amount : null,
  line.amount > 0 ? line.amount : null,
  line.balance_after,
  tx.ref_type === null ? null : `${tx.ref_type} ${referenceOf(tx) ?? ''}`.trim(),
  tx.reason,
  tx.actor,
];
