import { type BetterAuthOptions, betterAuth } from 'better-auth';
import { drizzleAdapter } from 'better-auth/adapters/drizzle';
import { APIError } from 'better-auth/api';
import { genericOAuth } from 'better-auth/plugins/generic-oauth';
import { twoFactor } from 'better-auth/plugins/two-factor';
import type { Database } from '../../db/client.js';
import { drizzleOver } from '../../db/drizzle.js';
import { authChallenges, logins, people, sessions, twoFactors } from '../../db/people.js';
import { newPersonId, newTimedId } from '../../domain/ids.js';
import type { ProviderSettings } from '../../domain/settings.js';
import { guardedAdapter, watched } from './adapter.js';
import { COOKIE_STEM } from './cookies.js';
import { PASSWORD_MAX, PASSWORD_MIN, type Passwords } from './passwords.js';

const DAY_S = 86_400;
export const SESSION_S = 30 * DAY_S;

/** The one place that configures better-auth. Only `src/accounts/people` calls it, and none of its own paths is served. */
export function createAuth(deps: {
  db: Database;
  secret: string;
  publicUrl: string;
  passwords: Passwords;
  digest: (token: string) => string;
  /** Asked when somebody comes through a provider for the first time; a word why not. */
  mayJoin: (email: string) => Promise<string | null>;
  provider: ProviderSettings | null;
}) {
  const schema = { user: people, account: logins, session: sessions, verification: authChallenges, twoFactor: twoFactors };
  const adapter = drizzleAdapter(drizzleOver(deps.db), { provider: 'pg', schema, transaction: false });
  return betterAuth({
    appName: 'Farebox',
    baseURL: deps.publicUrl,
    basePath: '/api/v1/auth',
    // As a list, because a single secret gives way to a variable of the environment.
    secrets: [{ version: 1, value: deps.secret }],
    database: (options: BetterAuthOptions) => guardedAdapter(adapter(options), deps.digest),
    emailAndPassword: {
      enabled: true,
      disableSignUp: true,
      minPasswordLength: PASSWORD_MIN,
      maxPasswordLength: 4 * PASSWORD_MAX,
      password: deps.passwords,
    },
    user: {
      validateUserInfo: async ({ user, source }) => {
        if (source.action !== 'create-user') return undefined;
        // Whoever may name any address at a provider could otherwise take the account of somebody else's.
        const error = user.emailVerified ? await deps.mayJoin(String(user.email)) : 'email_not_verified';
        return error === null ? undefined : { error };
      },
    },
    // What a provider gives us to act for a person is never used, so it is not kept.
    databaseHooks: { account: { create: { before: async (account) => ({ data: { ...account, ...NOTHING_TO_ACT_WITH } }) } } },
    account: { updateAccountOnSignIn: false, accountLinking: { enabled: true } },
    onAPIError: { errorURL: `${deps.publicUrl}/sign-in` },
    session: { expiresIn: SESSION_S, disableSessionRefresh: true },
    verification: { storeIdentifier: 'hashed' },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { disabled: true },
    advanced: {
      cookiePrefix: COOKIE_STEM,
      cookies: { session_token: { name: `${COOKIE_STEM}_session` } },
      useSecureCookies: false,
      // Both are asked by our own routes, before anything of the library runs.
      disableCSRFCheck: true,
      disableOriginCheck: true,
      ipAddress: { ipAddressHeaders: ['x-farebox-address'] },
      database: { generateId: ({ model }) => ID_OF[model]?.() ?? newTimedId('aut') },
    },
    plugins: [
      twoFactor({
        issuer: 'Farebox',
        allowPasswordless: true,
        twoFactorCookieMaxAge: 600,
        backupCodeOptions: { amount: 10, storeBackupCodes: 'encrypted' },
        accountLockout: { enabled: true, maxFailedAttempts: 10, durationSeconds: 900 },
      }),
      ...(deps.provider ? [genericOAuth({ config: [configOf(deps.provider)] })] : []),
    ],
  });
}

const NOTHING_TO_ACT_WITH = {
  accessToken: null,
  refreshToken: null,
  idToken: null,
  accessTokenExpiresAt: null,
  refreshTokenExpiresAt: null,
};

function configOf(provider: ProviderSettings): Parameters<typeof genericOAuth>[0]['config'][number] {
  const { issuer, authorizeUrl, tokenUrl, userInfoUrl } = provider;
  return {
    providerId: provider.id,
    clientId: provider.clientId,
    clientSecret: provider.clientSecret,
    scopes: [...provider.scopes],
    pkce: true,
    ...(issuer === null ? {} : { discoveryUrl: `${issuer}/.well-known/openid-configuration` }),
    ...(authorizeUrl === null ? {} : { authorizationUrl: authorizeUrl }),
    ...(tokenUrl === null ? {} : { tokenUrl }),
    ...(userInfoUrl === null ? {} : { userInfoUrl }),
    mapProfileToUser: (profile) => {
      const email = typeof profile['email'] === 'string' ? profile['email'].toLowerCase() : '';
      const name = typeof profile['name'] === 'string' ? profile['name'].trim().slice(0, 200) : '';
      const isProven = provider.trustEmail || profile['email_verified'] === true || profile['emailVerified'] === true;
      return { email, name: name || email.split('@')[0] || 'Somebody', image: '', emailVerified: email !== '' && isProven };
    },
  };
}

const ID_OF: Readonly<Record<string, () => string>> = {
  user: newPersonId,
  session: () => newTimedId('ses'),
};

export type Asked<T> =
  | { readonly kind: 'answered'; readonly response: T; readonly cookies: readonly string[] }
  /** An expected no, by the library's own word for it. */
  | { readonly kind: 'refused'; readonly code: string };

/**
 * Asks the library something. What it refuses is returned; when the database was away that is thrown, because the library
 * would have it look like a wrong password.
 */
export async function ask<T>(question: () => Promise<{ headers: Headers; response: T }>): Promise<Asked<T>> {
  const { outcome, trouble } = await watched(question);
  if (outcome.status === 'fulfilled')
    return { kind: 'answered', response: outcome.value.response, cookies: outcome.value.headers.getSetCookie() };
  const error: unknown = trouble ?? outcome.reason;
  if (error instanceof APIError && error.statusCode < 500) return { kind: 'refused', code: String(error.body?.code ?? error.status) };
  throw error;
}
