import { z } from '@hono/zod-openapi';
import { isOrgId } from '../domain/ids.js';
import { DEBTS, FLOWS, type GrantStory, readStatement } from '../ledger/statement.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const amounts = <Name extends string>(names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, AmountOutSchema])) as Record<Name, typeof AmountOutSchema>;

const GrantStorySchema = z
  .strictObject({
    id: z.string(),
    kind: z.string(),
    category: z.enum(['promo', 'plan', 'paid']),
    reason: z.string().nullable(),
    created_at: TimeOut,
    expires_at: TimeOut.nullable(),
    /** Under which it was booked. */
    transaction_id: z.string(),
    ...amounts(FLOWS),
    /** In how many transactions requests were paid from it. */
    charges: z.int(),
  })
  .openapi('GrantStory');

const StatementSchema = z
  .strictObject({
    org_id: z.string(),
    as_of: TimeOut,
    seq: z.int(),
    /** As booked: `totals.remaining` less `debt.owed`, to the last micro-credit. What requests set aside is not in it. */
    balance: AmountOutSchema,
    /** Of all grants: `remaining = granted − paid_debt − consumed + returned + restored − expired − withdrawn`. */
    totals: z.strictObject({ grants: z.int(), ...amounts(FLOWS) }),
    /** `owed = incurred + withdrawn − repaid − returned`. */
    debt: z.strictObject(amounts(DEBTS)),
    grants: pageSchema(GrantStorySchema),
  })
  .openapi('Statement');

export function statementRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    route({
      method: 'get',
      path: '/api/v1/orgs/{org}/statement',
      permission: 'credits.read',
      summary: 'Why the balance is what it is, grant by grant',
      tag: 'credits',
      params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
      query: z.strictObject({
        limit: LimitQuery,
        cursor: CursorQuery,
        grants: z.enum(['all', 'live']).default('all').openapi({ description: '`live`: only grants with something left.' }),
      }),
      answers: { 200: { description: 'The statement', schema: StatementSchema } },
      handle: async ({ params, query }) => {
        const filters = ['statement', params.org, query.grants];
        const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
        if (typeof place === 'string') return badCursor(place);
        const before = place[0] === undefined ? null : Number(place[0]);
        const page = { liveOnly: query.grants === 'live', before, limit: query.limit };
        const statement = await readStatement(deps.db, params.org, page);
        if (!statement) return noSuchOrg();
        const { totals, grants, hasMore } = statement;
        const last = grants.at(-1);
        return answer(200, {
          org_id: params.org,
          as_of: timeOut(new Date(deps.clock.nowMs())),
          seq: statement.version,
          balance: shown(deps, statement.avail),
          totals: { grants: totals.grants, ...shownAll(deps, FLOWS, totals) },
          debt: shownAll(deps, DEBTS, statement.debt),
          grants: {
            data: grants.map((one) => storyOut(deps, one)),
            has_more: hasMore,
            next_cursor: hasMore && last ? cursors.make([String(last.grant_id)], filters) : null,
          },
        });
      },
    }),
  ];
}

const shownAll = <Name extends string>(deps: ApiDeps, names: readonly Name[], of: Readonly<Record<Name, number>>) =>
  Object.fromEntries(names.map((name) => [name, shown(deps, of[name])])) as Record<Name, ReturnType<typeof shown>>;

const storyOut = (deps: ApiDeps, story: GrantStory): z.input<typeof GrantStorySchema> => ({
  id: `grant_${story.grant_id}`,
  kind: story.kind,
  category: story.category,
  reason: story.reason,
  created_at: timeOut(story.created_at),
  expires_at: timeOutOrNull(story.expires_at),
  transaction_id: `tx_${story.tx_id}`,
  ...shownAll(deps, FLOWS, story),
  charges: story.charges,
});
