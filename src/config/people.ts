import { MICRO_MAX, MICRO_PER_CREDIT } from '../domain/credits.js';
import type { MailSettings, ProviderSettings, SignUpSettings } from '../domain/settings.js';
import { baseUrlProblem } from './addresses.js';
import type { Cursor } from './cursor.js';
import { or, readBoolean, readOneOf, readText, readWhole } from './scalars.js';

/** Who may make an account, how mail leaves, and which other houses people may sign in with. */

export function readSignUp(at: Cursor, trialCredits: number): SignUpSettings {
  const field = at.fields(['enabled', 'trial_credits', 'trial_days', 'allowed_domains']);
  const word = or(field.enabled, (here) => readOneOf(here, ['auto', 'true', 'false']), 'auto');
  return {
    enabled: word === 'auto' ? word : word === 'true',
    trialCredits: or(
      field.trial_credits,
      (here) => readWhole(here, { min: 0, max: Math.floor(MICRO_MAX / MICRO_PER_CREDIT) }),
      trialCredits,
    ),
    // Long enough to try it out in earnest, short enough that forgotten accounts owe nobody anything.
    trialDays: or(field.trial_days, (here) => readWhole(here, { min: 1, max: 3650 }), 30),
    allowedDomains: field.allowed_domains.exists ? readDomains(field.allowed_domains) : null,
  };
}

const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/;
const DOMAIN_ALLOWED = 'a domain like example.com, in small letters and without @';

function readDomains(at: Cursor): readonly string[] {
  const allowed = 'a list of domains like [example.com]';
  const items = at.items(allowed);
  if (at.kind === 'list' && items.length === 0)
    at.wrong('at least one domain, or no allowed_domains for all of them', { found: 'an empty list' });
  return items.flatMap((item) => readText(item, { max: 253, pattern: DOMAIN, allowed: DOMAIN_ALLOWED }) ?? []);
}

const FROM = /^(?:[^<>"\r\n]{1,100} <[^\s@<>",]{1,64}@[^\s@<>",]{1,190}>|[^\s@<>",]{1,64}@[^\s@<>",]{1,190})$/;
const FROM_ALLOWED = 'an address like Farebox <no-reply@example.com>';
const SMTP_ALLOWED = 'a URL like smtp://user:password@mail.example.com:587, or smtps:// for TLS from the start';

export function readMail(at: Cursor): MailSettings | null {
  if (!at.exists) return null;
  const field = at.fields(['from', 'smtp_url']);
  const from = needed(field.from, at, FROM_ALLOWED, (here) => readText(here, { max: 320, pattern: FROM, allowed: FROM_ALLOWED }));
  const smtpUrl = needed(field.smtp_url, at, SMTP_ALLOWED, readSmtpUrl);
  return from === undefined || smtpUrl === undefined ? null : { from, smtpUrl };
}

function readSmtpUrl(at: Cursor): string | undefined {
  const found = at.scalar(SMTP_ALLOWED);
  if (!found) return undefined;
  const url = URL.canParse(found.text) ? new URL(found.text) : undefined;
  if (!url || !/^smtps?:$/.test(url.protocol) || url.hostname === '') return at.wrong(SMTP_ALLOWED, { secret: true });
  if (url.password && !found.filled) warnWrittenOut(at, 'a password');
  return found.text;
}

const PROVIDER_KEYS = [
  'label',
  'client_id',
  'client_secret',
  'issuer',
  'authorize_url',
  'token_url',
  'userinfo_url',
  'scopes',
  'trust_email',
] as const;
const PROVIDERS_MAX = 20;

export function readProviders(at: Cursor): readonly ProviderSettings[] {
  const entries = at.entries('a group of providers, each under a name of its own');
  if (entries.length > PROVIDERS_MAX) at.wrong(`at most ${PROVIDERS_MAX} providers`, { found: `${entries.length} providers` });
  return entries.flatMap(([id, value]) => readProvider(id, value) ?? []);
}

function readProvider(id: string, at: Cursor): ProviderSettings | undefined {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(id) || id === 'credential')
    at.wrong('a name of small letters, digits and hyphens', { found: `the name "${id.slice(0, 64)}"` });
  const field = at.fields(PROVIDER_KEYS);
  const clientId = needed(field.client_id, at, 'the client id the provider gave you', (here) => readText(here, { max: 512 }));
  const clientSecret = needed(field.client_secret, at, 'the client secret, best as ${NAME} from the environment', readClientSecret);
  const issuer = or(field.issuer, readIssuer, null);
  const [authorizeUrl, tokenUrl, userInfoUrl] = [field.authorize_url, field.token_url, field.userinfo_url].map((one) =>
    or(one, readAddress, null),
  ) as [string | null, string | null, string | null];
  const stated = [authorizeUrl, tokenUrl, userInfoUrl].filter((one) => one !== null).length;
  if (at.kind === 'map' && !field.issuer.exists && stated < 3)
    at.wrong('an issuer (OpenID Connect), or authorize_url, token_url and userinfo_url', { found: 'neither of the two' });
  if (clientId === undefined || clientSecret === undefined) return undefined;
  return {
    id,
    label: or(field.label, (here) => readText(here, { max: 40 }), id),
    clientId,
    clientSecret,
    issuer,
    authorizeUrl,
    tokenUrl,
    userInfoUrl,
    scopes: field.scopes.exists ? readScopes(field.scopes) : ['openid', 'email', 'profile'],
    trustEmail: or(field.trust_email, readBoolean, false),
  };
}

const readScopes = (at: Cursor): readonly string[] =>
  at
    .items('a list of scopes')
    .flatMap((item) => readText(item, { max: 200, pattern: /^[\x21\x23-\x5b\x5d-\x7e]+$/, allowed: 'a scope' }) ?? []);

function readClientSecret(at: Cursor): string | undefined {
  const found = at.scalar('a secret, best as ${NAME} from the environment');
  if (!found) return undefined;
  if (!/^[\x21-\x7e]{1,4096}$/.test(found.text)) return at.wrong('a secret of printable characters without spaces', { secret: true });
  if (!found.filled) warnWrittenOut(at, 'a secret');
  return found.text;
}

const readIssuer = (at: Cursor): string | undefined => readAddress(at)?.replace(/\/+$/, '');

function readAddress(at: Cursor): string | undefined {
  const allowed = 'an https URL, or http for a provider in a test';
  const text = readText(at, { max: 2048, allowed });
  if (text === undefined) return undefined;
  const problem = baseUrlProblem(text);
  return problem ? at.wrong(allowed, { found: problem }) : text;
}

function needed<T>(at: Cursor, around: Cursor, allowed: string, read: (at: Cursor) => T | undefined): T | undefined {
  if (at.exists) return read(at);
  if (around.kind === 'map') around.wrong(allowed, { found: `no ${at.path.split('.').at(-1)}` });
  return undefined;
}

const warnWrittenOut = (at: Cursor, what: string): undefined =>
  at.wrong('${NAME} from the environment or ${file:/path}: what is written out in this file ends up in backups and chats', {
    found: `${what} written out`,
    severity: 'warning',
  });
