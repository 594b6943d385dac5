import { z } from '@hono/zod-openapi';
import { comeBack, depart, ProviderLate } from '../accounts/people/provider.js';
import type { ApiDeps } from './deps.js';
import { visitor } from './peopleShape.js';
import { asked } from './peopleSignUp.js';
import { notFound, tryAgain } from './problem.js';
import { answer, type Route, route } from './route.js';

export const providerRoutes = (deps: ApiDeps): readonly Route[] => [departRoute(deps), returnRoute(deps)];

const ProviderParams = z.object({ provider: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/) });

/** A page of this server and nothing else: `//evil` and `/\evil` are other hosts to a browser. */
const OwnPath = z
  .string()
  .max(500, 'At most 500 characters.')
  .regex(/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/, 'Write a path of this server such as /o.')
  .default('/');

const departRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/oauth/{provider}',
    permission: 'public',
    summary: 'Sign in with another house: where the browser has to go',
    tag: 'people',
    params: ProviderParams,
    body: z.strictObject({ return_to: OwnPath }),
    answers: { 200: { description: 'Go there', schema: z.strictObject({ url: z.string() }) } },
    handle: async ({ params, body, from }) => {
      const late = await asked(deps, from, 'provider', null);
      if (late) return late;
      const call = { ctx: deps.people, visitor: visitor(deps.people, from), providerId: params.provider, returnTo: body.return_to };
      const gone = await depart(call).catch(lateOnly);
      if (gone.kind === 'late')
        return tryAgain('provider_unavailable', 'The other side does not answer right now. Try again, or sign in another way.');
      if (gone.kind === 'unknown_provider') return notFound('People cannot sign in this way here, or not right now.');
      return { ...answer(200, { url: gone.url }), cookies: gone.cookies };
    },
  });

function lateOnly(error: unknown): { readonly kind: 'late' } {
  if (error instanceof ProviderLate) return { kind: 'late' };
  throw error;
}

const Said = z.string().max(8_000, 'This is too long.').optional();

const returnRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/auth/callback/{provider}',
    permission: 'public',
    summary: 'Where another house sends the browser back to; not to be called by anything else',
    tag: 'people',
    params: ProviderParams,
    query: z.looseObject({ code: Said, state: Said, error: Said, iss: Said }),
    answers: { 302: { description: 'On to the page that was asked for, or back to signing in with ?error=', schema: z.null() } },
    handle: async ({ params, query, from }) => {
      const here = visitor(deps.people, from);
      const said = Object.entries(query).filter((pair): pair is [string, string] => typeof pair[1] === 'string');
      const call = { ctx: deps.people, visitor: here, providerId: params.provider, query: Object.fromEntries(said) };
      const back = await comeBack(call).catch((error: unknown) => {
        lateOnly(error);
        return { url: `${deps.people.publicUrl}/sign-in?error=provider_unavailable`, cookies: [] };
      });
      return { ...answer(302, null, { location: back.url }), cookies: back.cookies };
    },
  });
