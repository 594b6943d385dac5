import { z } from '@hono/zod-openapi';
import { nameOf } from '../accounts/actor.js';
import { changePerson, type ListedPerson, listPeople, type PeopleFilter, readPerson } from '../accounts/people/administer.js';
import { countTry } from '../accounts/people/attempts.js';
import { resendVerification } from '../accounts/people/links.js';
import { switchOffSecondFactor } from '../accounts/people/secondFactor.js';
import { endSessions } from '../accounts/people/sessions.js';
import { OPERATOR_ROLES } from '../accounts/roles/permissions.js';
import { isPersonId } from '../domain/ids.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { PersonSchema, tooManyTries } from './peopleShape.js';
import { badCursor, notFound, type Problem } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const UserSchema = PersonSchema.extend({
  email_verified: z.boolean(),
  disabled_at: TimeOut.nullable(),
  created_at: TimeOut,
  last_sign_in_at: TimeOut.nullable(),
  organizations: z.array(z.strictObject({ id: z.string(), name: z.string(), role: z.string() })),
}).openapi('User');

const Params = z.object({ person: idParam(isPersonId, 'usr_019ab0f4c2d87c3ea1b2c3d4e5f60718') });
const PATH = '/api/v1/admin/users';

export const peopleAdminRoutes = (deps: ApiDeps): readonly Route[] => [
  listRoute(deps),
  readRoute(deps),
  changeRoute(deps),
  signOutRoute(deps),
  resendRoute(deps),
  resetRoute(deps),
];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'operator.any',
    summary: 'People with accounts, newest first',
    tag: 'people',
    query: z.strictObject({
      limit: LimitQuery,
      cursor: CursorQuery,
      email: z.string().trim().min(1).max(254).optional().openapi({ description: 'A part of the address.' }),
      status: z.enum(['active', 'disabled']).optional(),
      operator_role: z
        .enum([...OPERATOR_ROLES, 'none'])
        .optional()
        .openapi({ description: '`none`: whoever is no operator.' }),
      two_factor: z.enum(['true', 'false']).optional(),
    }),
    answers: { 200: { description: 'A page', schema: pageSchema(UserSchema) } },
    handle: async ({ query }) => {
      const filter: PeopleFilter = {
        email: query.email?.toLowerCase() ?? null,
        disabled: query.status === undefined ? null : query.status === 'disabled',
        operatorRole: query.operator_role ?? null,
        twoFactor: query.two_factor === undefined ? null : query.two_factor === 'true',
      };
      const filters = ['users', filter];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, personId] = place;
      const after = createdAt && personId ? { createdAt, personId } : null;
      const page = await listPeople({ ctx: deps.people, filter, after, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map(userOut),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.person_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/{person}`,
    permission: 'operator.any',
    summary: 'One person',
    tag: 'people',
    params: Params,
    answers: { 200: { description: 'The person', schema: UserSchema } },
    handle: async ({ params }) => {
      const found = await readPerson({ ctx: deps.people, personId: params.person });
      return found ? answer(200, userOut(found)) : noSuchPerson();
    },
  });

const changeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: `${PATH}/{person}`,
    permission: 'operator.admin',
    stepUp: true,
    summary: 'Disable or enable an account, or say what its person may do as an operator; sessions end where that changes',
    tag: 'people',
    params: Params,
    body: z.strictObject({ disabled: z.boolean().optional(), operator_role: z.enum(OPERATOR_ROLES).nullable().optional() }),
    answers: { 200: { description: 'The person as it is now', schema: UserSchema } },
    handle: async ({ params, body, actor }) => {
      const changes = { disabled: body.disabled, operatorRole: body.operator_role };
      const changed = await changePerson({ ctx: deps.people, actor, personId: params.person, changes });
      return changed ? answer(200, userOut(changed)) : noSuchPerson();
    },
  });

const signOutRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{person}/sign-out`,
    permission: 'operator.support',
    summary: 'End all sessions of a person',
    tag: 'people',
    params: Params,
    answers: { 200: { description: 'How many were ended', schema: z.strictObject({ ended: z.int() }) } },
    handle: async ({ params, actor }) => {
      if (!(await readPerson({ ctx: deps.people, personId: params.person }))) return noSuchPerson();
      const ended = await endSessions({ ctx: deps.people, personId: params.person, ending: { kind: 'all' }, actor: nameOf(actor) });
      return answer(200, { ended });
    },
  });

const resendRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{person}/resend-verification`,
    permission: 'operator.support',
    summary: 'Send the link that confirms an address again, to that address alone',
    tag: 'people',
    params: Params,
    answers: {
      200: { description: 'Sent; false: it is confirmed, or the account is disabled', schema: z.strictObject({ sent: z.boolean() }) },
    },
    handle: async ({ params, actor }) => {
      const person = await readPerson({ ctx: deps.people, personId: params.person });
      if (!person) return noSuchPerson();
      const waitMs = await countTry(deps.people, [{ name: `resend ${params.person}`, most: 5, windowS: 3600 }]);
      if (waitMs > 0) return tooManyTries(waitMs);
      return answer(200, { sent: await resendVerification({ ctx: deps.people, email: person.email, by: nameOf(actor) }) });
    },
  });

const resetRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{person}/reset-two-factor`,
    permission: 'operator.admin',
    stepUp: true,
    summary: 'Switch two-factor sign-in off for somebody who lost the device and the backup codes; a mail says so',
    tag: 'people',
    params: Params,
    answers: { 200: { description: 'Off; false: it was off already', schema: z.strictObject({ reset: z.boolean() }) } },
    handle: async ({ params, actor }) => {
      if (!(await readPerson({ ctx: deps.people, personId: params.person }))) return noSuchPerson();
      const off = await switchOffSecondFactor({ ctx: deps.people, personId: params.person, by: nameOf(actor) });
      return answer(200, { reset: off.kind === 'off' });
    },
  });

const noSuchPerson = (): Problem => notFound('There is nobody with this id.');

const userOut = (one: ListedPerson): z.input<typeof UserSchema> => ({
  id: one.person_id,
  email: one.email,
  name: one.name,
  two_factor: one.two_factor,
  operator_role: one.operator_role,
  email_verified: one.email_verified,
  disabled_at: timeOutOrNull(one.disabled_at),
  created_at: timeOut(one.created_at),
  last_sign_in_at: timeOutOrNull(one.last_sign_in_at),
  organizations: [...one.organizations],
});
