import { type Actor, decide, type Permission } from '../accounts/actor.js';
import { sameSecret } from '../domain/secrets.js';
import { forbidden, notFound, type Problem, unauthorized, wrongCredential } from './problem.js';

export type Guarded = { readonly kind: 'actor'; readonly actor: Actor } | Problem;

/** Stands in front of every handler: who asks, and whether they may. `permission` comes from the route's own row. */
export function guard(what: {
  authorization: string | undefined;
  operatorKey: string;
  permission: Permission | 'public';
  orgId: string | null;
}): Guarded {
  if (what.permission === 'public') return { kind: 'actor', actor: { kind: 'system', part: 'public' } };
  const who = identify(what.authorization, what.operatorKey);
  if (who.kind === 'problem') return who;
  switch (decide(who.actor, what.permission, what.orgId)) {
    case 'allowed':
      return who;
    case 'forbidden':
      return forbidden(what.permission);
    case 'foreign':
      return notFound('There is no organization with this id.');
  }
}

const BEARER = /^Bearer +(\S{1,400})$/i;

function identify(authorization: string | undefined, operatorKey: string): Guarded {
  if (authorization === undefined) return unauthorized("No credential was sent. Send 'Authorization: Bearer ok-fb-…'.");
  const secret = BEARER.exec(authorization)?.[1];
  if (secret === undefined) return unauthorized("The Authorization header must read 'Bearer ok-fb-…'.");
  if (sameSecret(secret, operatorKey)) return { kind: 'actor', actor: { kind: 'operator' } };
  if (secret.startsWith('sk-fb-'))
    return wrongCredential('This is an API token: it spends on /v1 and manages nothing. Use the operator key (ok-fb-…).');
  if (secret.startsWith('mk-fb-')) return wrongCredential('Management keys are not served here yet. Use the operator key (ok-fb-…).');
  return unauthorized(
    'This key is not known here. Check that it was copied whole; the operator key is in operator.key in the data folder.',
  );
}
