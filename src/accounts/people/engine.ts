import { createHmac, hkdfSync } from 'node:crypto';
import type { Database } from '../../db/client.js';
import type { Passwords } from './passwords.js';

/**
 * better-auth behind a door: it opens sessions and asks for second factors. It is loaded when the first person comes,
 * because a server that only relays should not wait for it.
 */
export interface Engine {
  /** What the session of a cookie is kept under. */
  digest(token: string): string;
  library(): Promise<Library>;
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
}

export function createEngine(deps: EngineDeps): Engine {
  // Keys of its own: what the library signs and encrypts is worth nothing elsewhere.
  const secret = Buffer.from(hkdfSync('sha256', deps.secret, '', 'farebox people', 48)).toString('base64url');
  const digest = (token: string): string => createHmac('sha256', secret).update(`session ${token}`).digest('hex');
  let library: Promise<Library> | undefined;
  const load = async (): Promise<Library> => {
    const { createAuth, ask } = await import('./library.js');
    return { auth: createAuth({ ...deps, secret, digest }), ask };
  };
  return {
    digest,
    library: () => {
      library ??= load();
      return library;
    },
  };
}
