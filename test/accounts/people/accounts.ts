import { expect } from 'vitest';
import type { Rig } from '../../api/harness.js';
import { type Browser, openBrowser } from './browser.js';

export const PASSWORD = 'a long enough password';

export interface SignedInPerson {
  readonly browser: Browser;
  readonly email: string;
  readonly personId: string;
  readonly homeOrgId: string;
}

/** Somebody with an account and a session, where no mail is needed for either. */
export async function person(rig: Rig, email: string, more: Record<string, unknown> = {}): Promise<SignedInPerson> {
  const browser = openBrowser(rig.app);
  const made = await browser.send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(202);
  await signsIn(browser, email);
  const me = await browser.send('GET', '/api/v1/me');
  return { browser, email, personId: String(me.body['id']), homeOrgId: String(me.body['home_org_id']) };
}

export async function signsIn(browser: Browser, email: string, password = PASSWORD): Promise<void> {
  const reply = await browser.send('POST', '/api/v1/auth/sign-in', { email, password });
  expect(reply.body, JSON.stringify(reply.body)).toEqual({ status: 'signed_in' });
}

/** Every try of this rig counts anew: tests are faster than people. */
export const forgetTries = (rig: Rig): Promise<unknown> => rig.db.query('delete from auth_attempts');
