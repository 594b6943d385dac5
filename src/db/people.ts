import { boolean, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

// The typed mirror of the migrations about people; see schema.ts. Keys are the names by which better-auth asks for a
// column where it does, because its adapter looks them up here.

const moment = (name?: string) => (name === undefined ? timestamp({ withTimezone: true }) : timestamp(name, { withTimezone: true }));

export const people = pgTable('people', {
  id: text('person_id').notNull(),
  email: text().notNull(),
  emailVerified: boolean('email_verified').notNull(),
  name: text().notNull(),
  image: text(),
  twoFactorEnabled: boolean('two_factor').notNull(),
  two_factor_reset_by: text(),
  operator_role: text(),
  home_org_id: text(),
  home_ready_at: moment(),
  preferences: jsonb().notNull(),
  known_devices: text().array().notNull(),
  last_sign_in_at: moment(),
  disabled_at: moment(),
  left_at: moment(),
  left_digest: text(),
  home_name: text(),
  createdAt: moment('created_at').notNull(),
  updatedAt: moment('updated_at').notNull(),
});

export const logins = pgTable('logins', {
  id: text('login_id').notNull(),
  userId: text('person_id').notNull(),
  providerId: text('provider_id').notNull(),
  accountId: text('account_id').notNull(),
  password: text(),
  accessToken: text('access_token'),
  refreshToken: text('refresh_token'),
  idToken: text('id_token'),
  accessTokenExpiresAt: moment('access_token_expires_at'),
  refreshTokenExpiresAt: moment('refresh_token_expires_at'),
  scope: text(),
  createdAt: moment('created_at').notNull(),
  updatedAt: moment('updated_at').notNull(),
});

export const sessions = pgTable('sessions', {
  id: text('session_id').notNull(),
  userId: text('person_id').notNull(),
  token: text('token_digest').notNull(),
  expiresAt: moment('expires_at').notNull(),
  authenticated_at: moment().notNull(),
  seen_at: moment().notNull(),
  ipAddress: text('ip_address'),
  userAgent: text('user_agent'),
  createdAt: moment('created_at').notNull(),
  updatedAt: moment('updated_at').notNull(),
});

export const twoFactors = pgTable('two_factors', {
  id: text('two_factor_id').notNull(),
  userId: text('person_id').notNull(),
  secret: text().notNull(),
  backupCodes: text('backup_codes').notNull(),
  verified: boolean().notNull(),
  failedVerificationCount: integer('failures').notNull(),
  lockedUntil: moment('locked_until'),
});

export const authChallenges = pgTable('auth_challenges', {
  id: text('challenge_id').notNull(),
  identifier: text().notNull(),
  value: text().notNull(),
  expiresAt: moment('expires_at').notNull(),
  createdAt: moment('created_at').notNull(),
  updatedAt: moment('updated_at').notNull(),
});

export const personLinks = pgTable('person_links', {
  digest: text().notNull(),
  kind: text().notNull(),
  person_id: text(),
  password: text(),
  email: text(),
  created_at: moment().notNull(),
  expires_at: moment(),
  used_at: moment(),
});

export const authAttempts = pgTable('auth_attempts', {
  key: text().notNull(),
  tries: integer().notNull(),
  until: moment().notNull(),
});

export const invitations = pgTable('invitations', {
  invitation_id: text().notNull(),
  org_id: text().notNull(),
  email: text().notNull(),
  role_id: text().notNull(),
  digest: text().notNull(),
  invited_by: text().notNull(),
  created_at: moment().notNull(),
  sent_at: moment().notNull(),
  expires_at: moment().notNull(),
  accepted_at: moment(),
  accepted_by: text(),
  revoked_at: moment(),
});
