import type { Mailer } from '../../mail/mailer.js';
import type { AccountsContext } from '../context.js';
import type { PeopleContext, PeopleSettings } from './context.js';
import { createEngine } from './engine.js';
import { createPasswords, type PasswordCost } from './passwords.js';
import type { Sessions } from './session.js';
import { createSessions } from './sessions.js';

/** Everything about people, for whoever serves it. */
export interface People extends PeopleContext {
  readonly sessions: Sessions;
}

export interface PeopleDeps extends Pick<AccountsContext, 'db' | 'clock' | 'pepper' | 'project'> {
  readonly mailer: Mailer;
  readonly signUp: PeopleSettings;
  readonly publicUrl: string;
  readonly grantTrial: PeopleContext['grantTrial'];
  /** Cheaper in tests that are about something else. */
  readonly passwordCost?: PasswordCost;
}

export function createPeople({ passwordCost, ...deps }: PeopleDeps): People {
  const passwords = createPasswords(passwordCost);
  const engine = createEngine({ db: deps.db, secret: deps.pepper, publicUrl: deps.publicUrl, passwords });
  const ctx: PeopleContext = { ...deps, engine, passwords };
  return { ...ctx, sessions: createSessions(ctx) };
}
