import type { ProviderSettings } from '../../domain/settings.js';
import type { Mailer } from '../../mail/mailer.js';
import type { AccountsContext } from '../context.js';
import type { PeopleContext, PeopleSettings } from './context.js';
import { createEngine } from './engine.js';
import { createPasswords, type PasswordCost } from './passwords.js';
import type { Sessions } from './session.js';
import { createSessions } from './sessions.js';
import { joining } from './signUp.js';

/** Everything about people, for whoever serves it. */
export interface People extends PeopleContext {
  readonly sessions: Sessions;
  /** Told when the link of the first start was used. */
  onFirstOperator(): void;
  /** Other houses people may sign in with. */
  readonly providers: readonly { readonly id: string; readonly label: string }[];
}

export interface PeopleDeps extends Pick<AccountsContext, 'db' | 'clock' | 'pepper' | 'project'> {
  readonly mailer: Mailer;
  readonly signUp: PeopleSettings;
  readonly publicUrl: string;
  readonly grantTrial: PeopleContext['grantTrial'];
  readonly providers: readonly ProviderSettings[];
  readonly onFirstOperator?: () => void;
  /** Cheaper in tests that are about something else. */
  readonly passwordCost?: PasswordCost;
}

export function createPeople({ passwordCost, providers, onFirstOperator = () => undefined, ...deps }: PeopleDeps): People {
  const passwords = createPasswords(passwordCost);
  const { db, signUp, pepper, publicUrl } = deps;
  const mayJoin = (email: string): Promise<string | null> => joining({ db, signUp }, email);
  const engine = createEngine({ db, secret: pepper, publicUrl, passwords, providers, mayJoin });
  const ctx: PeopleContext = { ...deps, engine, passwords };
  return { ...ctx, sessions: createSessions(ctx), onFirstOperator, providers: providers.map(({ id, label }) => ({ id, label })) };
}
