import { type Actor, decide, type Reach } from '../accounts/actor.js';
import { identifyKey } from '../accounts/keys/identifyKey.js';
import { identifyOperator } from '../accounts/operatorKeys/identifyOperator.js';
import type { SignedIn } from '../accounts/people/session.js';
import { csrfToken } from '../accounts/people/sessions.js';
import { findMembership, listMemberships, type Membership } from '../accounts/roles/memberships.js';
import type { RuleName } from '../accounts/roles/rules.js';
import { isOrgId } from '../domain/ids.js';
import { sameSecret } from '../domain/secrets.js';
import type { ApiDeps } from './deps.js';
import {
  forbidden,
  foreignOrigin,
  notFound,
  organizationNeeded,
  type Problem,
  refused,
  stepUpRequired,
  twoFactorRequired,
  unauthorized,
  wrongCredential,
} from './problem.js';
import type { Caller } from './route.js';

/** What of a request and its route decides whether it is let in. */
export interface Knock {
  readonly headers: Headers;
  readonly url: string;
  readonly method: string;
  /** Who asks, as far as the network can tell. */
  readonly address: string | undefined;
  readonly permission: RuleName | 'public';
  readonly stepUp: boolean;
  /** `named`: the path names it; `own`: the short form, which means the one the caller belongs to; `none`: not about one. */
  readonly org: { readonly kind: 'named'; readonly id: string } | { readonly kind: 'own' } | { readonly kind: 'none' };
}

export type Guarded = { readonly kind: 'caller'; readonly caller: Caller; readonly orgId: string | null } | Problem;

const EVERYTHING: Reach = { ownerId: null };
const NOBODY: Actor = { kind: 'system', part: 'public' };
const STEP_UP_MS = 10 * 60_000;

/** Stands in front of every handler: who asks, and whether they may. What is needed comes from the route's own row. */
export async function guard(deps: ApiDeps, knock: Knock): Promise<Guarded> {
  if (!isOurOrigin(knock, deps.publicUrl)) return foreignOrigin();
  if (knock.permission === 'public') {
    const caller: Caller = { actor: NOBODY, reach: EVERYTHING, may: () => null, again: async () => caller, session: null };
    return { kind: 'caller', caller, orgId: null };
  }
  const who = await identify(deps, knock);
  if (who.kind === 'problem') return who;
  const { actor, orgId, session } = who;
  if (session && !isMeant(knock, csrfToken(deps.pepper, session.sessionId))) return foreignOrigin();
  if (knock.org.kind === 'own' && orgId === null) return organizationNeeded();
  const decision = decide(actor, knock.permission, orgId);
  switch (decision.kind) {
    case 'foreign':
      return notFound('There is no organization with this id.');
    case 'forbidden':
      return forbidden(decision.missing);
    case 'wrong_credential':
      return wrongCredential(WRONG[actor.kind]);
    case 'allowed': {
      if (who.lacksFactor && knock.permission !== 'org.leave') return twoFactorRequired();
      if (knock.stepUp && actor.kind === 'person' && !actor.isProved) return stepUpRequired();
      const may = (rule: RuleName): Reach | null => {
        const other = decide(actor, rule, orgId);
        return other.kind === 'allowed' ? other.reach : null;
      };
      const again = async (): Promise<Caller | null> => {
        const now = await guard(deps, knock);
        return now.kind === 'caller' ? now.caller : null;
      };
      return { kind: 'caller', caller: { actor, reach: decision.reach, may, again, session }, orgId };
    }
  }
}

const WRONG: Readonly<Record<Actor['kind'], string>> = {
  operator: 'An operator key belongs to no person, and a further one makes no others. Sign in to use this.',
  system: 'This is not for the server itself.',
  person: 'A session cannot do that.',
  key: 'A management key cannot do that, whatever its scopes. Sign in to use this.',
};

interface Identified {
  readonly kind: 'identified';
  readonly actor: Actor;
  readonly orgId: string | null;
  readonly session: SignedIn | null;
  /** A member whose organization asks for a second factor, and who has none. */
  readonly lacksFactor?: boolean;
}

const BEARER = /^Bearer +(\S{1,400})$/i;

async function identify(deps: ApiDeps, knock: Knock): Promise<Identified | Problem> {
  const authorization = knock.headers.get('authorization');
  if (authorization === null || authorization === '') return identifyPerson(deps, knock);
  const secret = BEARER.exec(authorization)?.[1];
  if (secret === undefined) return unauthorized("The Authorization header must read 'Bearer ok-fb-…' or 'Bearer mk-fb-…'.");
  const operator = await identifyOperator(deps, { secret, address: knock.address, nowMs: deps.clock.nowMs() });
  if (operator.kind === 'elsewhere') return refused(403, 'ip_not_allowed', 'This key may not be used from your address.');
  if (operator.kind === 'revoked') return unauthorized('This operator key was revoked. Use another one.');
  if (operator.kind === 'expired') return unauthorized('This operator key has expired. Use another one.');
  if (operator.kind === 'known') {
    const named = knock.org.kind === 'own' ? namedOrg(knock.headers) : null;
    const orgId = knock.org.kind === 'named' ? knock.org.id : named;
    return { kind: 'identified', actor: operator.actor, orgId, session: null };
  }
  if (secret.startsWith('mk-fb-')) return identifyKeyHolder(deps, knock, secret);
  if (secret.startsWith('sk-fb-'))
    return wrongCredential('This is an API token: it spends on /v1 and manages nothing. Use a management key (mk-fb-…) or sign in.');
  return unauthorized(
    'This key is not known here. Check that it was copied whole; the operator key is in operator.key in the data folder.',
  );
}

async function identifyKeyHolder(deps: ApiDeps, { org }: Knock, secret: string): Promise<Identified | Problem> {
  const found = await identifyKey({ db: deps.db, secret, pepper: deps.pepper, nowMs: deps.clock.nowMs() });
  if (found.kind === 'revoked') return unauthorized('This management key was revoked. Use another one.');
  if (found.kind === 'expired') return unauthorized('This management key has expired. Use another one.');
  if (found.kind === 'unknown') return unauthorized('This management key is not known here. Check that it was copied whole.');
  const { actor } = found;
  const orgId = org.kind === 'named' ? org.id : org.kind === 'own' ? actor.orgId : null;
  return { kind: 'identified', actor, orgId, session: null };
}

async function identifyPerson(deps: ApiDeps, { headers, org }: Knock): Promise<Identified | Problem> {
  const session = await deps.sessions.read(headers);
  if (!session) return unauthorized("No credential was sent, or the session has ended. Sign in, or send 'Authorization: Bearer mk-fb-…'.");
  const { personId, operatorRole } = session;
  const member = await membershipFor(
    deps,
    personId,
    org.kind === 'own' ? namedOrg(headers) : org.kind === 'named' ? org.id : null,
    org.kind,
  );
  const actor: Actor = {
    kind: 'person',
    id: personId,
    orgId: member?.org_id ?? null,
    permissions: new Set(member?.permissions),
    operatorRole,
    isProved: deps.clock.nowMs() - session.authenticatedAt.getTime() < STEP_UP_MS,
  };
  const orgId = org.kind === 'named' ? org.id : (namedOrg(headers) ?? member?.org_id ?? null);
  const lacksFactor = (member?.two_factor_required ?? false) && !session.twoFactor && operatorRole === null;
  return { kind: 'identified', actor, orgId: org.kind === 'none' ? null : orgId, session, lacksFactor };
}

/** The one the request names; in the short form without a name the only one there is. */
async function membershipFor(
  { db }: ApiDeps,
  personId: string,
  orgId: string | null,
  kind: Knock['org']['kind'],
): Promise<Membership | undefined> {
  if (orgId !== null) return isOrgId(orgId) ? findMembership(db, personId, orgId) : undefined;
  if (kind === 'none') return undefined;
  const [only, second] = await listMemberships(db, personId, 2);
  return second ? undefined : only;
}

/** As it was sent: a name with a mistake in it is no organization of anybody, and not the same as no name. */
const namedOrg = (headers: Headers): string | null => headers.get('x-organization');

const READING = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * A browser sends the cookie along with what other sites make it ask. So a change without another credential has to say
 * that it comes from a page of this server; a name in a header is enough, because pages cannot choose that one.
 */
function isOurOrigin({ headers, url, method, permission }: Knock, publicUrl: string | null): boolean {
  if (READING.has(method) || headers.get('authorization')) return true;
  const origin = headers.get('origin');
  // Without an Origin it is no page of another site; the token of the session is asked for once it is known whose it is.
  if (origin === null) return permission === 'public' || headers.get('cookie') === null || headers.has('x-csrf-token');
  const ours = [url, ...(publicUrl === null ? [] : [publicUrl])];
  return URL.canParse(origin) && ours.some((one) => new URL(one).host === new URL(origin).host);
}

/** What has no page to name shows the token of its session instead; no other site can read that. */
function isMeant({ headers, method }: Knock, token: string): boolean {
  return READING.has(method) || headers.has('origin') || sameSecret(headers.get('x-csrf-token') ?? '', token);
}
