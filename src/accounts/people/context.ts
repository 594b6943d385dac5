import type { SignUpSettings } from '../../domain/settings.js';
import type { Mailer } from '../../mail/mailer.js';
import type { AccountsContext } from '../context.js';
import type { Engine } from './engine.js';
import type { Passwords } from './passwords.js';

/** What the verbs about people are given. Nobody has signed in yet, so there is no actor; they name the person themselves. */
export interface PeopleContext extends Pick<AccountsContext, 'db' | 'clock' | 'pepper' | 'project'> {
  readonly engine: Engine;
  readonly passwords: Passwords;
  readonly mailer: Mailer;
  readonly signUp: PeopleSettings;
  /** Where people reach the console: links in mails start with it, never with what a request says. */
  readonly publicUrl: string;
  /** Books the credits a person starts with; repeating a key books nothing twice. */
  grantTrial(trial: TrialGrant): Promise<void>;
}

export interface PeopleSettings extends Omit<SignUpSettings, 'enabled'> {
  readonly enabled: boolean;
}

export interface TrialGrant {
  readonly orgId: string;
  readonly key: string;
  readonly credits: number;
  readonly expiresAt: Date;
}
