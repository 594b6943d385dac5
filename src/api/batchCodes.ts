import { z } from '@hono/zod-openapi';
import { isBatchId } from '../billing/batch.js';
import { readBatch } from '../billing/codes.js';
import { type BatchCode, CODE_STATES, disableCode, isCodeId, listCodes } from '../billing/oneCode.js';
import { noSuchBatch } from './codes.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { badCursor, conflict, notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const CodeSchema = z
  .strictObject({
    id: z.string(),
    last_four: z.string(),
    state: z.enum(CODE_STATES),
    /** Of a code that was redeemed. */
    redeemed: z.strictObject({ org_id: z.string(), by: z.string(), at: TimeOut, grant_id: z.string() }).nullable(),
    disabled_at: TimeOut.nullable(),
  })
  .openapi('BatchCode');

/** As people say it over the telephone: small letters will do, and O and I are digits. */
const LastFour = z
  .string()
  .transform((typed) => typed.trim().toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1'))
  .refine((four) => /^[0-9A-HJKMNP-TV-Z]{4}$/.test(four), 'Write the last four letters and digits of a code.')
  .openapi({ type: 'string', example: '7K2F' });

const BatchParams = z.object({ batch: idParam(isBatchId, 'batch_07Ab12Cd34Ef56Gh') });
const CodeParams = BatchParams.extend({ code: idParam(isCodeId, 'code_0123456789abcdef0123456789abcdef') });
const PATH = '/api/v1/admin/code-batches/{batch}/codes';

export const batchCodeRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), disableRoute(deps)];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'operator.any',
    summary: 'The codes of a batch without what they read; found by how they end',
    tag: 'codes',
    params: BatchParams,
    query: z.strictObject({
      last_four: LastFour.optional(),
      state: z.enum(CODE_STATES).optional(),
      limit: LimitQuery,
      cursor: CursorQuery,
    }),
    answers: { 200: { description: 'A page', schema: pageSchema(CodeSchema) } },
    handle: async ({ params, query, actor }) => {
      const { last_four: lastFour = null, state = null, limit } = query;
      const filters = ['codes', params.batch, lastFour ?? '', state ?? ''];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const ctx = contextFor(deps, actor);
      const page = await listCodes({ ctx, batchId: params.batch, lastFour, state, after: place[0] ?? null, limit });
      if (page.rows.length === 0 && !(await readBatch({ ctx, batchId: params.batch }))) return noSuchBatch();
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map(codeOut),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.code_id], filters) : null,
      });
    },
  });
}

const disableRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{code}/disable`,
    permission: 'operator.finance',
    summary: 'Make one code worthless that nobody has redeemed',
    tag: 'codes',
    params: CodeParams,
    answers: { 200: { description: 'The code as it is now', schema: CodeSchema } },
    handle: async ({ params, actor }) => {
      const done = await disableCode({ ctx: contextFor(deps, actor), batchId: params.batch, codeId: params.code });
      switch (done.kind) {
        case 'unknown_code':
          return notFound('There is no code with this id in this batch.');
        case 'used':
          return conflict(
            'code_already_used',
            `This code was redeemed by ${done.code.used_org}; it gave grant_${done.code.grant_id}. To take that back, deduct it.`,
          );
        case 'disabled':
          return answer(200, codeOut(done.code));
      }
    },
  });

const codeOut = (code: BatchCode): z.input<typeof CodeSchema> => ({
  id: code.code_id,
  last_four: code.last_four,
  state: code.state,
  redeemed:
    code.used_at === null
      ? null
      : { org_id: code.used_org ?? '', by: code.used_by ?? '', at: timeOut(code.used_at), grant_id: `grant_${code.grant_id}` },
  disabled_at: timeOutOrNull(code.disabled_at),
});
