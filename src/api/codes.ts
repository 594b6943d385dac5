import { z } from '@hono/zod-openapi';
import { type CodeBatch, isBatchId } from '../billing/batch.js';
import { disableBatch, listBatches, listRedemptions, readBatch } from '../billing/codes.js';
import { CODES_MAX, createCodes } from '../billing/createCodes.js';
import { isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, idempotencyMismatch, invalid, notFound, type Problem } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import {
  AmountOutSchema,
  CursorQuery,
  LimitQuery,
  PositiveAmountIn,
  pageSchema,
  TimeIn,
  TimeOut,
  text,
  timeOut,
  timeOutOrNull,
} from './schemas.js';

const SECONDS = new Map([
  ['h', 3_600],
  ['d', 86_400],
]);

const Duration = z
  .string()
  .regex(/^[1-9]\d{0,4}[hd]$/, 'Write a duration such as "90d" or "12h".')
  .transform((value) => Number(value.slice(0, -1)) * (SECONDS.get(value.slice(-1)) ?? 0))
  .refine((seconds) => seconds <= 36_500 * 86_400, 'At most 36500d.')
  .openapi({ example: '90d' });

const Restriction = z.union([
  z.strictObject({ org: z.string().refine(isOrgId, 'An organization id looks like org_07Ab12Cd34Ef56Gh.') }),
  z.strictObject({ new_accounts: z.literal(true) }),
]);

const BatchIn = z.strictObject({
  name: text(200),
  credits: PositiveAmountIn,
  count: z.int('A whole number.').min(1, 'At least 1.').max(CODES_MAX, `At most ${CODES_MAX}.`),
  code_valid_until: TimeIn.nullable().optional(),
  credits_expire_after: Duration.nullable().optional(),
  restricted_to: Restriction.nullable().optional(),
});

const BatchSchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    amount: AmountOutSchema,
    count: z.int(),
    used: z.int(),
    unused: z.int(),
    /** Not used in time. */
    expired: z.int(),
    /** Withdrawn before they were used, one by one or with the batch. The four make `count`. */
    disabled: z.int(),
    status: z.enum(['active', 'expired', 'disabled']),
    code_valid_until: TimeOut.nullable(),
    credits_expire_after: z.string().nullable(),
    restricted_to: z.union([z.strictObject({ org: z.string() }), z.strictObject({ new_accounts: z.literal(true) })]).nullable(),
    disabled_at: TimeOut.nullable(),
    created_by: z.string(),
    created_at: TimeOut,
  })
  .openapi('CodeBatch');

const BatchWithCodesSchema = BatchSchema.extend({
  codes: z.array(z.string()).openapi({ description: 'Shown once, here.' }),
}).openapi('CodeBatchWithCodes');

const RedemptionSchema = z
  .strictObject({ last_four: z.string(), org_id: z.string(), by: z.string(), at: TimeOut, grant_id: z.string() })
  .openapi('CodeRedemption');

const BatchParams = z.object({ batch: idParam(isBatchId, 'batch_07Ab12Cd34Ef56Gh') });
const PATH = '/api/v1/admin/code-batches';

export const codeRoutes = (deps: ApiDeps): readonly Route[] => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  disableRoute(deps),
  redemptionsRoute(deps),
];

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: PATH,
    permission: 'operator.finance',
    stepUp: true,
    summary: 'Make redemption codes; they are shown in this answer and never again (Accept: text/csv gives a table)',
    tag: 'codes',
    body: BatchIn,
    keyed: 'required',
    answers: { 201: { description: 'The batch and its codes', schema: BatchWithCodesSchema } },
    handle: async ({ body, actor, idempotencyKey, wantsCsv }) => {
      const { name, credits, count, code_valid_until: validUntil = null, credits_expire_after: lasts = null } = body;
      if (validUntil !== null && Date.parse(validUntil) <= deps.clock.nowMs())
        return invalid([{ pointer: '/code_valid_until', code: 'in_the_past', message: 'This time has passed already.' }]);
      const who = body.restricted_to ?? null;
      const made = await createCodes({
        ctx: contextFor(deps, actor),
        input: {
          name,
          amount: credits,
          count,
          validUntil,
          creditsLastS: lasts,
          forOrg: who !== null && 'org' in who ? who.org : null,
          forNew: who !== null && 'new_accounts' in who,
        },
        key: idempotencyKey === null ? undefined : { scope: 'code-batches', key: idempotencyKey, request: body },
      });
      if (made.kind === 'unknown_org') return noSuchOrg();
      if (made.kind === 'idempotency_mismatch') return idempotencyMismatch();
      const batch = batchOut(deps, made.batch);
      const headers = { location: `${PATH}/${batch.id}` };
      if (wantsCsv) return csvAnswer(batch, made.codes, headers);
      return answer(201, { ...batch, codes: made.codes }, headers);
    },
  });

/** Letters, digits, dashes and times only: nothing that a spreadsheet would take for a formula. */
function csvAnswer(batch: BatchOut, codes: readonly string[], headers: Readonly<Record<string, string>>): Answer {
  const rest = `${batch.amount.credits},${batch.code_valid_until ?? ''}`;
  const lines = ['code,credits,code_valid_until', ...codes.map((code) => `${code},${rest}`)];
  return {
    kind: 'answer',
    status: 201,
    body: null,
    stream: new Blob([`${lines.join('\r\n')}\r\n`]).stream(),
    headers: { 'content-type': 'text/csv; charset=utf-8', 'content-disposition': `attachment; filename="${batch.id}.csv"`, ...headers },
  };
}

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'operator.any',
    summary: 'All batches of codes, newest first',
    tag: 'codes',
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(BatchSchema) } },
    handle: async ({ query, actor }) => {
      const filters = ['code-batches'];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, batchId] = place;
      const after = createdAt && batchId ? { createdAt, batchId } : null;
      const page = await listBatches({ ctx: contextFor(deps, actor), after, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((batch) => batchOut(deps, batch)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.batch_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/{batch}`,
    permission: 'operator.any',
    summary: 'One batch of codes',
    tag: 'codes',
    params: BatchParams,
    answers: { 200: { description: 'The batch', schema: BatchSchema } },
    handle: async ({ params, actor }) => {
      const batch = await readBatch({ ctx: contextFor(deps, actor), batchId: params.batch });
      return batch ? answer(200, batchOut(deps, batch)) : noSuchBatch();
    },
  });

const disableRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{batch}/disable`,
    permission: 'operator.finance',
    summary: 'Make the unused codes of a batch worthless; what was redeemed stays',
    tag: 'codes',
    params: BatchParams,
    answers: { 200: { description: 'The batch as it is now', schema: BatchSchema } },
    handle: async ({ params, actor }) => {
      const batch = await disableBatch({ ctx: contextFor(deps, actor), batchId: params.batch });
      return batch ? answer(200, batchOut(deps, batch)) : noSuchBatch();
    },
  });

function redemptionsRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: `${PATH}/{batch}/redemptions`,
    permission: 'operator.any',
    summary: 'Who redeemed codes of a batch, newest first',
    tag: 'codes',
    params: BatchParams,
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(RedemptionSchema) } },
    handle: async ({ params, query, actor }) => {
      const filters = ['redemptions', params.batch];
      const from = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof from === 'string') return badCursor(from);
      const [usedAt, place] = from;
      const ctx = contextFor(deps, actor);
      const after = usedAt && place ? { usedAt, place } : null;
      const page = await listRedemptions({ ctx, batchId: params.batch, after, limit: query.limit });
      if (page.rows.length === 0 && !(await readBatch({ ctx, batchId: params.batch }))) return noSuchBatch();
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((use) => ({
          last_four: use.last_four,
          org_id: use.used_org,
          by: use.used_by,
          at: timeOut(use.used_at),
          grant_id: `grant_${use.grant_id}`,
        })),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.used_at, last.place], filters) : null,
      });
    },
  });
}

export const noSuchBatch = (): Problem => notFound('There is no batch of codes with this id.');

type BatchOut = z.input<typeof BatchSchema>;

function batchOut(deps: ApiDeps, batch: CodeBatch): BatchOut {
  const { used, codes, credits_last_s: lasts, for_org: org } = batch;
  const isOver = batch.valid_until !== null && Date.parse(batch.valid_until) <= deps.clock.nowMs();
  const disabled = batch.disabled_at === null ? batch.withdrawn : codes - used;
  const left = codes - used - disabled;
  return {
    id: batch.batch_id,
    name: batch.name,
    amount: shown(deps, batch.amount),
    count: codes,
    used,
    unused: isOver ? 0 : left,
    expired: isOver ? left : 0,
    disabled,
    status: batch.disabled_at !== null ? 'disabled' : isOver ? 'expired' : 'active',
    code_valid_until: timeOutOrNull(batch.valid_until),
    credits_expire_after: lasts === null ? null : lasts % 86_400 === 0 ? `${lasts / 86_400}d` : `${lasts / 3_600}h`,
    restricted_to: org !== null ? { org } : batch.for_new ? { new_accounts: true } : null,
    disabled_at: timeOutOrNull(batch.disabled_at),
    created_by: batch.created_by,
    created_at: timeOut(batch.created_at),
  };
}
