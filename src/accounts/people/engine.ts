import { createHmac, hkdfSync } from 'node:crypto';
import type { Database } from '../../db/client.js';
import type { ProviderSettings } from '../../domain/settings.js';
import type { Passwords } from './passwords.js';

/**
 * better-auth behind a door: it opens sessions and asks for second factors. It is loaded when the first person comes,
 * because a server that only relays should not wait for it.
 */
export interface Engine {
  /** What the session of a cookie is kept under. */
  digest(token: string): string;
  library(): Promise<Library>;
  /** The same with another house to sign in through; undefined: there is none of this name, or it does not answer. */
  through(providerId: string): Promise<Library | undefined>;
  /** Signs a value the way the library signs its cookies. */
  sign(value: string): string;
}

type Module = typeof import('./library.js');

export interface Library {
  readonly auth: ReturnType<Module['createAuth']>;
  readonly ask: Module['ask'];
}

export interface EngineDeps {
  readonly db: Database;
  readonly secret: string;
  readonly publicUrl: string;
  readonly passwords: Passwords;
  readonly providers: readonly ProviderSettings[];
  readonly mayJoin: (email: string) => Promise<string | null>;
}

export function createEngine(deps: EngineDeps): Engine {
  // Keys of its own: what the library signs and encrypts is worth nothing elsewhere.
  const secret = Buffer.from(hkdfSync('sha256', deps.secret, '', 'farebox people', 48)).toString('base64url');
  const digest = (token: string): string => createHmac('sha256', secret).update(`session ${token}`).digest('hex');
  const open = async (provider: ProviderSettings | null): Promise<Library> => {
    const { createAuth, ask } = await import('./library.js');
    return { auth: createAuth({ ...deps, secret, digest, provider }), ask };
  };
  let plain: Promise<Library> | undefined;
  const houses = new Map<string, Promise<Library>>();
  return {
    digest,
    sign: (value) => encodeURIComponent(`${value}.${createHmac('sha256', secret).update(value).digest('base64')}`),
    library: () => {
      plain ??= open(null);
      return plain;
    },
    through: async (providerId) => {
      const settings = deps.providers.find(({ id }) => id === providerId);
      if (!settings) return undefined;
      const opened = houses.get(providerId) ?? open(settings);
      houses.set(providerId, opened);
      const { socialProviders } = await (await opened).auth.$context;
      if (socialProviders.length > 0) return opened;
      // It was not reachable when it was asked what it offers; the next visitor asks again.
      houses.delete(providerId);
      return undefined;
    },
  };
}
