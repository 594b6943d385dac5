import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { createRole, deleteRole, listRoles, type Role, readRole, updateRole } from '../accounts/roles/customRoles.js';
import { PERMISSIONS, type Permission } from '../accounts/roles/permissions.js';
import { isOrgId, isRoleId } from '../domain/ids.js';
import { contextFor } from './context.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { changedMeanwhile, conflict, notFound, type Problem, refused } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { TimeOut, text, timeOut } from './schemas.js';

const RoleSchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    /** The same in every organization, and never changed. */
    preset: z.boolean(),
    permissions: z.array(z.enum(PERMISSIONS)),
    members: z.int(),
    created_at: TimeOut,
    updated_at: TimeOut,
  })
  .openapi('Role');

const Permissions = z
  .array(z.enum(PERMISSIONS))
  .transform((given): readonly Permission[] => PERMISSIONS.filter((one) => given.includes(one)))
  .openapi({ type: 'array', items: { type: 'string', enum: [...PERMISSIONS] } });

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
const RoleParams = OrgParams.extend({ role: idParam(isRoleId, 'role_07Ab12Cd34Ef56') });

const PRESET = /^[a-z]{1,20}$/;
const isAnyRole = (text: string): text is string => PRESET.test(text) || isRoleId(text);
const AnyRoleParams = OrgParams.extend({ role: idParam(isAnyRole, 'role_07Ab12Cd34Ef56') });

export const roleRoutes = (deps: ApiDeps): readonly Route[] => [
  listRoute(deps),
  createRoute(deps),
  readRoute(deps),
  updateRoute(deps),
  deleteRoute(deps),
];

const listRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/roles',
    permission: 'members.read',
    summary: 'Every role that can be given here, and what it allows',
    tag: 'members',
    params: OrgParams,
    answers: {
      200: {
        description: 'Presets first',
        schema: z.strictObject({ data: z.array(RoleSchema), permissions: z.array(z.enum(PERMISSIONS)) }),
      },
    },
    handle: async ({ params, actor }) => {
      const ctx = contextFor(deps, actor);
      if (!(await readOrg({ ctx, orgId: params.org }))) return noSuchOrg();
      const roles = await listRoles({ ctx, orgId: params.org });
      return answer(200, { data: roles.map(roleOut), permissions: PERMISSIONS });
    },
  });

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/roles',
    permission: 'members.write',
    summary: 'A role of your own: any of the permissions that you have yourself',
    tag: 'members',
    params: OrgParams,
    body: z.strictObject({ name: text(100), permissions: Permissions }),
    answers: { 201: { description: 'The role', schema: RoleSchema } },
    handle: async ({ params, body, actor }) => {
      const made = await createRole({ ctx: contextFor(deps, actor), orgId: params.org, ...body });
      switch (made.kind) {
        case 'unknown_org':
          return noSuchOrg();
        case 'too_many':
          return conflict('too_many_roles', 'This organization has as many roles as it can. Change or delete one.');
        case 'name_taken':
          return nameTaken();
        case 'beyond_own_role':
          return beyondOwnRole();
        case 'created':
          return answer(201, roleOut(made.role), {
            etag: `"${made.role.etag}"`,
            location: `/api/v1/orgs/${params.org}/roles/${made.role.role_id}`,
          });
      }
    },
  });

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/roles/{role}',
    permission: 'members.read',
    summary: 'One role: a preset by its name, or one of your own',
    tag: 'members',
    params: AnyRoleParams,
    answers: { 200: { description: 'The role', schema: RoleSchema } },
    handle: async ({ params, actor }) => {
      const role = await readRole({ ctx: contextFor(deps, actor), orgId: params.org, roleId: params.role });
      return role ? answer(200, roleOut(role), { etag: `"${role.etag}"` }) : noSuchRole();
    },
  });

const updateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: '/api/v1/orgs/{org}/roles/{role}',
    permission: 'members.write',
    summary: 'Change what everybody with this role may do, from their next call on',
    tag: 'members',
    params: RoleParams,
    body: z.strictObject({ name: text(100).optional(), permissions: Permissions.optional() }),
    conditional: true,
    answers: { 200: { description: 'The role as it is now', schema: RoleSchema } },
    handle: async ({ params, body, actor, ifMatch }) => {
      const changed = await updateRole({ ctx: contextFor(deps, actor), orgId: params.org, roleId: params.role, changes: body, ifMatch });
      switch (changed.kind) {
        case 'unknown_role':
          return noSuchRole();
        case 'name_taken':
          return nameTaken();
        case 'beyond_own_role':
          return beyondOwnRole();
        case 'changed_meanwhile':
          return changedMeanwhile(roleOut(changed.role), `"${changed.role.etag}"`);
        case 'changed':
          return answer(200, roleOut(changed.role), { etag: `"${changed.role.etag}"` });
      }
    },
  });

const deleteRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/orgs/{org}/roles/{role}',
    permission: 'members.write',
    summary: 'Delete a role that nobody has any more',
    tag: 'members',
    params: RoleParams,
    answers: { 200: { description: 'Gone', schema: z.strictObject({ deleted: z.literal(true) }) } },
    handle: async ({ params, actor }) => {
      const gone = await deleteRole({ ctx: contextFor(deps, actor), orgId: params.org, roleId: params.role });
      switch (gone.kind) {
        case 'unknown_role':
          return noSuchRole();
        case 'beyond_own_role':
          return beyondOwnRole();
        case 'in_use':
          return conflict('role_in_use', 'Somebody still has this role. Give them another one first.');
        case 'deleted':
          return answer(200, { deleted: true });
      }
    },
  });

const noSuchRole = (): Problem => notFound('There is no role with this id.');
const nameTaken = (): Problem => conflict('name_taken', 'There is a role of this name already. Choose another name.');

/** Also for memberships: what nobody may pass on. */
export const beyondOwnRole = (): Problem =>
  refused(403, 'beyond_own_role', 'This role allows more than your own does. Ask somebody who may do all of it, such as an owner.');

const roleOut = (role: Role): z.input<typeof RoleSchema> => ({
  id: role.role_id,
  name: role.name,
  preset: role.is_preset,
  permissions: [...role.permissions],
  members: role.members,
  created_at: timeOut(role.created_at),
  updated_at: timeOut(role.updated_at),
});
