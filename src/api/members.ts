import { z } from '@hono/zod-openapi';
import { type MemberPerson, peopleOf } from '../accounts/people/memberPeople.js';
import { readOrg } from '../accounts/readOrg.js';
import { changeMember } from '../accounts/roles/changeMember.js';
import { listMembers, type Member, type MemberRefusal, readMember, removeMember, type TokensOfLeaver } from '../accounts/roles/members.js';
import { QUOTA_TOKENS_MAX } from '../accounts/token.js';
import { isOrgId, isPersonId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, changedMeanwhile, conflict, invalid, notFound, notInForce, type Problem, stepUpRequired } from './problem.js';
import { beyondOwnRole } from './roles.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { AmountIn, AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';
import { noSession } from './sessions.js';

const MemberSchema = z
  .strictObject({
    person_id: z.string(),
    email: z.string(),
    name: z.string(),
    role: z.strictObject({ id: z.string(), name: z.string() }),
    two_factor: z.boolean(),
    last_active_at: TimeOut.nullable(),
    tokens: z.int(),
    /** What this person's own tokens were charged in the month that runs. */
    month_spent: AmountOutSchema,
    /** What their tokens may spend in a month of the organization, together; null = no quota. */
    monthly_quota: AmountOutSchema.nullable(),
    /** What is left of it, by booked charges; running requests hold some of that. */
    monthly_quota_remaining: AmountOutSchema.nullable(),
    joined_at: TimeOut,
  })
  .openapi('Member');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
const MemberParams = OrgParams.extend({ person: idParam(isPersonId, 'usr_019ab0f4c2d87c3ea1b2c3d4e5f60718') });

const TokensOf = z.enum(['keep', 'reassign', 'revoke']);
const RemovedSchema = z.strictObject({ removed: z.literal(true), tokens: z.int() });

export const memberRoutes = (deps: ApiDeps): readonly Route[] => [
  listRoute(deps),
  readRoute(deps),
  changeRoute(deps),
  removeRoute(deps),
  leaveRoute(deps),
];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/orgs/{org}/members',
    permission: 'members.read',
    summary: 'Who belongs to the organization, in the order in which they came',
    tag: 'members',
    params: OrgParams,
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(MemberSchema) } },
    handle: async ({ params, query, actor }) => {
      const ctx = contextFor(deps, actor);
      if (!(await readOrg({ ctx, orgId: params.org }))) return noSuchOrg();
      const filters = ['members', params.org];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, personId] = place;
      const after = createdAt && personId ? { createdAt, personId } : null;
      const page = await listMembers({ ctx, orgId: params.org, after, limit: query.limit });
      const people = await peopleOf(
        ctx,
        page.rows.map((one) => one.person_id),
      );
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((one) => memberOut(deps, one, people.get(one.person_id))),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.person_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/members/{person}',
    permission: 'members.read',
    summary: 'One member',
    tag: 'members',
    params: MemberParams,
    answers: { 200: { description: 'The member', schema: MemberSchema } },
    handle: async ({ params, actor }) => {
      const ctx = contextFor(deps, actor);
      const member = await readMember({ ctx, orgId: params.org, personId: params.person });
      if (!member) return noSuchMember();
      return answer(200, await withPerson(deps, member, ctx), { etag: `"${member.etag}"` });
    },
  });

const changeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: '/api/v1/orgs/{org}/members/{person}',
    permission: 'members.write',
    summary:
      'Give a member another role, a monthly quota that all of their tokens share, or both at once; in force for the very next request',
    tag: 'members',
    params: MemberParams,
    body: z.strictObject({
      role_id: z.string().max(40, 'This is not the id of a role.').optional(),
      monthly_quota: AmountIn.nullable().optional(),
    }),
    conditional: true,
    answers: { 200: { description: 'The member as it is now', schema: MemberSchema } },
    handle: async ({ params, body, actor, ifMatch }) => {
      const ctx = contextFor(deps, actor);
      const changes = { roleId: body.role_id, monthlyQuota: body.monthly_quota };
      const changed = await changeMember({ ctx, orgId: params.org, personId: params.person, changes, ifMatch });
      if (changed.kind === 'too_many_tokens') return tooManyTokens();
      if (changed.kind !== 'changed' && changed.kind !== 'changed_meanwhile') return refusedMember(changed);
      const shown = await withPerson(deps, changed.member, ctx);
      const etag = `"${changed.member.etag}"`;
      if (changed.kind === 'changed_meanwhile') return changedMeanwhile(shown, etag);
      return changed.effect === 'unavailable' ? notInForce('The quota') : answer(200, shown, { etag });
    },
  });

const removeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/orgs/{org}/members/{person}',
    permission: 'members.write',
    summary: 'Remove a member, and say what becomes of their tokens',
    tag: 'members',
    params: MemberParams,
    query: z.strictObject({ tokens: TokensOf, to: z.string().max(60, 'This is not the id of a person.').optional() }),
    answers: { 200: { description: 'Removed; how many tokens it concerned', schema: RemovedSchema } },
    handle: async ({ params, query, actor }) => {
      const ctx = contextFor(deps, actor);
      if ((query.tokens === 'reassign') !== (query.to !== undefined))
        return invalid([{ pointer: '?to', code: 'wrong_form', message: 'Name a member here exactly when tokens are to be reassigned.' }]);
      const tokens: TokensOfLeaver = query.tokens === 'reassign' ? { kind: 'reassign', to: query.to ?? '' } : { kind: query.tokens };
      return removed(await removeMember({ ctx, orgId: params.org, personId: params.person, tokens }));
    },
  });

const leaveRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/leave',
    permission: 'org.leave',
    summary: 'Leave the organization; the last owner cannot',
    tag: 'members',
    params: OrgParams,
    body: z.strictObject({ tokens: z.enum(['keep', 'revoke']) }),
    answers: { 200: { description: 'Left; how many tokens it concerned', schema: RemovedSchema } },
    handle: async ({ params, body, session, actor }) => {
      if (!session) return noSession();
      const ctx = contextFor(deps, actor);
      return removed(await removeMember({ ctx, orgId: params.org, personId: session.personId, tokens: { kind: body.tokens } }));
    },
  });

function removed(done: Awaited<ReturnType<typeof removeMember>>): Answer | Problem {
  if (done.kind === 'unknown_heir') return notFound('Whoever is to have the tokens does not belong to this organization.');
  if (done.kind === 'too_many_tokens') return tooManyTokens();
  if (done.kind !== 'removed') return refusedMember(done);
  return done.effect === 'unavailable' ? notInForce('The removal') : answer(200, { removed: true, tokens: done.tokens });
}

function refusedMember(refusal: MemberRefusal): Problem {
  switch (refusal.kind) {
    case 'unknown_member':
      return noSuchMember();
    case 'unknown_role':
      return notFound('There is no role with this id.');
    case 'beyond_own_role':
      return beyondOwnRole();
    case 'step_up_required':
      return stepUpRequired();
    case 'last_owner':
      return conflict('last_owner', 'Somebody has to own the organization. Make somebody else an owner first.');
  }
}

export const tooManyTokens = (): Problem =>
  conflict(
    'too_many_tokens',
    `A member with a monthly quota may have ${QUOTA_TOKENS_MAX} tokens; revoked ones count while they were used this month. Revoke some, or lift the quota.`,
  );

const noSuchMember = (): Problem => notFound('Nobody with this id belongs to this organization.');

const withPerson = async (deps: ApiDeps, member: Member, ctx: ReturnType<typeof contextFor>) =>
  memberOut(deps, member, (await peopleOf(ctx, [member.person_id])).get(member.person_id));

const memberOut = (deps: ApiDeps, member: Member, person: MemberPerson | undefined): z.input<typeof MemberSchema> => ({
  person_id: member.person_id,
  email: person?.email ?? '',
  name: person?.name ?? '',
  role: { id: member.role_id, name: member.role_name },
  two_factor: person?.two_factor ?? false,
  last_active_at: timeOutOrNull(person?.last_active_at ?? null),
  tokens: member.tokens,
  month_spent: shown(deps, member.month_spent),
  monthly_quota: member.monthly_quota === null ? null : shown(deps, member.monthly_quota),
  monthly_quota_remaining: member.monthly_quota === null ? null : shown(deps, Math.max(0, member.monthly_quota - member.month_spent)),
  joined_at: timeOut(member.created_at),
});
