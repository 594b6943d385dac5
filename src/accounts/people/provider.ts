import { newTimedId } from '../../domain/ids.js';
import type { PeopleContext } from './context.js';
import { outward, sessionToken } from './cookies.js';
import { linkTo } from './links.js';
import { arrive } from './signIn.js';
import type { Visitor } from './visitor.js';

/** How long a provider may take to say what it offers, or who somebody is. */
const PATIENCE_MS = 15_000;

export type Departure =
  /** Where the browser goes next; the cookies bind the way back to it. */
  { readonly kind: 'go'; readonly url: string; readonly cookies: readonly string[] } | { readonly kind: 'unknown_provider' };

/** Sends somebody to another house to say there who they are. */
export async function depart(what: { ctx: PeopleContext; visitor: Visitor; providerId: string; returnTo: string }): Promise<Departure> {
  const { ctx, visitor, providerId, returnTo } = what;
  const library = await soon(ctx.engine.through(providerId));
  if (!library) return { kind: 'unknown_provider' };
  const { auth, ask } = library;
  const body = {
    provider: providerId,
    callbackURL: `${ctx.publicUrl}${returnTo}`,
    errorCallbackURL: linkTo(ctx, 'sign-in'),
    disableRedirect: true,
  };
  const asked = await soon(ask(() => auth.api.signInSocial({ body, headers: visitor.headers, returnHeaders: true })));
  if (asked.kind === 'refused' || !asked.response.url) return { kind: 'unknown_provider' };
  return { kind: 'go', url: asked.response.url, cookies: outward(asked.cookies, visitor.transport) };
}

/** Where the browser goes after it came back, and what it is given there. */
export interface Return {
  readonly url: string;
  readonly cookies: readonly string[];
}

/** Somebody is back from another house. A second factor of ours is asked for all the same. */
export async function comeBack(what: {
  ctx: PeopleContext;
  visitor: Visitor;
  providerId: string;
  query: Readonly<Record<string, string>>;
}): Promise<Return> {
  const { ctx, visitor, providerId, query } = what;
  const library = await soon(ctx.engine.through(providerId));
  if (!library) return failed(ctx, 'provider_unavailable');
  const answer: Response = await soon(
    library.auth.api.callbackOAuth({ params: { id: providerId }, query, headers: visitor.headers, method: 'GET', asResponse: true }),
  );
  const location = answer.headers.get('location') ?? '';
  const cookies = answer.headers.getSetCookie();
  const token = sessionToken(new Map(cookies.map(pairOf)));
  const why = URL.canParse(location) ? new URL(location).searchParams.get('error') : 'provider_failed';
  if (token === undefined || why !== null) return failed(ctx, why ?? 'provider_failed');
  const person = await personOf(ctx, token);
  if (person.two_factor) return challenge(ctx, visitor, person.person_id, token);
  const came = await arrive({ ctx, visitor, personId: person.person_id, token, cookies });
  return came.kind === 'signed_in' ? { url: location, cookies: came.cookies } : failed(ctx, came.kind);
}

const failed = (ctx: PeopleContext, why: string): Return => ({
  url: `${ctx.publicUrl}/sign-in?error=${/^[a-z_]{1,60}$/.test(why) ? why : 'provider_failed'}`,
  cookies: [],
});

function pairOf(line: string): readonly [string, string] {
  const pair = line.split(';')[0] ?? '';
  return [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
}

async function personOf(ctx: PeopleContext, token: string): Promise<{ person_id: string; two_factor: boolean }> {
  const row = await ctx.db.one<{ person_id: string; two_factor: boolean }>(
    'select p.person_id, p.two_factor from sessions s join people p using (person_id) where s.token_digest = $1',
    [ctx.engine.digest(token)],
    { idempotent: true },
  );
  if (!row) throw new Error('a provider opened no session');
  return row;
}

/** Takes the session back and asks for the code, as after a password. The library does so after passwords alone. */
async function challenge(ctx: PeopleContext, visitor: Visitor, personId: string, token: string): Promise<Return> {
  await ctx.db.query('delete from sessions where token_digest = $1', [ctx.engine.digest(token)], { idempotent: true });
  const { auth } = await ctx.engine.library();
  const { internalAdapter } = await auth.$context;
  const identifier = newTimedId('2fa');
  const expiresAt = new Date(Date.now() + CHALLENGE_MS);
  await internalAdapter.createVerificationValue({ value: personId, identifier, expiresAt });
  await internalAdapter.createVerificationValue({ value: '0', identifier: `2fa-attempts-${identifier}`, expiresAt });
  const cookie = `farebox.two_factor=${ctx.engine.sign(identifier)}; Max-Age=${CHALLENGE_MS / 1000}; Path=/; HttpOnly; SameSite=Lax`;
  return { url: linkTo(ctx, 'sign-in?step=code'), cookies: outward([cookie], visitor.transport) };
}

const CHALLENGE_MS = 600_000;

/** The library waits for other houses without end. */
async function soon<T>(work: Promise<T>): Promise<T> {
  const late = new AbortController();
  const deadline = new Promise<never>((_, failed) => {
    const timer = setTimeout(() => failed(new ProviderLate('a provider did not answer in time')), PATIENCE_MS);
    late.signal.addEventListener('abort', () => clearTimeout(timer));
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    late.abort();
  }
}

export class ProviderLate extends Error {
  override readonly name = 'ProviderLate';
}
