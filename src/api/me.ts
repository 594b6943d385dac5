import { z } from '@hono/zod-openapi';
import { type Me, readMe, updateMe } from '../accounts/people/me.js';
import { listMemberships } from '../accounts/roles/memberships.js';
import { PERMISSIONS } from '../accounts/roles/permissions.js';
import type { ApiDeps } from './deps.js';
import { NameIn, PersonSchema } from './peopleShape.js';
import { type Answer, answer, type Route, route } from './route.js';
import { TimeOut, timeOut } from './schemas.js';
import { noSession } from './sessions.js';

const PreferencesSchema = z
  .strictObject({
    theme: z.enum(['light', 'dark', 'system']).optional(),
    unit: z.enum(['credits', 'money', 'both']).optional(),
    locale: z
      .string()
      .regex(/^[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}$/, 'Write a language such as "en" or "de-DE".')
      .optional(),
  })
  .openapi('Preferences');

const MeSchema = PersonSchema.extend({
  email_verified: z.boolean(),
  has_password: z.boolean(),
  providers: z.array(z.string()),
  home_org_id: z.string().nullable(),
  preferences: PreferencesSchema,
  created_at: TimeOut,
  organizations: z.array(
    z.strictObject({
      id: z.string(),
      name: z.string(),
      kind: z.enum(['personal', 'team']),
      role: z.strictObject({ id: z.string(), name: z.string() }),
      permissions: z.array(z.enum(PERMISSIONS)),
      /** Nothing of it is shown without a second factor. */
      two_factor_required: z.boolean(),
    }),
  ),
}).openapi('Me');

const ORGS_MAX = 200;

export const meRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/me',
    permission: 'session',
    summary: 'You, your organizations and what you may do there',
    tag: 'people',
    answers: { 200: { description: 'You', schema: MeSchema } },
    handle: async ({ session }) => (session ? meAnswer(deps, await readMe({ ctx: deps.people, personId: session.personId })) : noSession()),
  }),
  route({
    method: 'patch',
    path: '/api/v1/me',
    permission: 'session',
    summary: 'Change your name or how things are shown to you',
    tag: 'people',
    body: z.strictObject({ name: NameIn.optional(), preferences: PreferencesSchema.optional() }),
    answers: { 200: { description: 'You, as it is now', schema: MeSchema } },
    handle: async ({ session, body }) =>
      session ? meAnswer(deps, await updateMe({ ctx: deps.people, personId: session.personId, changes: body })) : noSession(),
  }),
];

async function meAnswer(deps: ApiDeps, me: Me | undefined): Promise<Answer | ReturnType<typeof noSession>> {
  if (!me) return noSession();
  const memberships = await listMemberships(deps.db, me.person_id, ORGS_MAX);
  const out: z.input<typeof MeSchema> = {
    id: me.person_id,
    email: me.email,
    name: me.name,
    two_factor: me.two_factor,
    operator_role: me.operator_role,
    email_verified: me.email_verified,
    has_password: me.has_password,
    providers: [...me.providers],
    home_org_id: me.home_org_id,
    preferences: me.preferences,
    created_at: timeOut(me.created_at),
    organizations: memberships.map((one) => ({
      id: one.org_id,
      name: one.org_name,
      kind: one.org_kind,
      role: { id: one.role_id, name: one.role_name },
      permissions: [...one.permissions],
      two_factor_required: one.two_factor_required,
    })),
  };
  return answer(200, out);
}
