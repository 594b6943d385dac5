import { bigint, boolean, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

// The typed mirror of the migrations about roles and keys; see schema.ts.

const whole = () => bigint({ mode: 'number' });
const moment = () => timestamp({ withTimezone: true });

export const accessChanges = pgTable('access_changes', {
  one: boolean().notNull(),
  version: whole().notNull(),
});

export const managementKeys = pgTable('management_keys', {
  key_id: text().notNull(),
  org_id: text().notNull(),
  name: text().notNull(),
  last_four: text().notNull(),
  digest: text().notNull(),
  grace_digest: text(),
  grace_ends_at: moment(),
  scopes: text().array().notNull(),
  expires_at: moment(),
  revoked_at: moment(),
  created_by: text().notNull(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
  last_used_at: moment(),
});

export const operatorKeys = pgTable('operator_keys', {
  operator_key_id: text().notNull(),
  name: text().notNull(),
  role: text().notNull(),
  last_four: text().notNull(),
  digest: text().notNull(),
  grace_digest: text(),
  grace_ends_at: moment(),
  ips: text().array(),
  expires_at: moment(),
  revoked_at: moment(),
  created_by: text().notNull(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
  last_used_at: moment(),
});

export const memberTerms = pgTable('member_terms', {
  token_id: text().notNull(),
  org_id: text().notNull(),
  person_id: text(),
  cap: whole(),
  tokens: text().array(),
  version: whole().notNull(),
  told_version: whole().notNull(),
});

export const quotaShares = pgTable('quota_shares', {
  org_id: text().notNull(),
  version: whole().notNull(),
  shared_version: whole().notNull(),
});

export const orgSecurity = pgTable('org_security', {
  org_id: text().notNull(),
  two_factor_required: boolean().notNull(),
  changed_by: text().notNull(),
  changed_at: moment().notNull(),
});

export const orgMembers = pgTable('org_members', {
  org_id: text().notNull(),
  person_id: text().notNull(),
  role_id: text().notNull(),
  monthly_quota: whole(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
});

export const roles = pgTable('roles', {
  role_id: text().notNull(),
  org_id: text(),
  name: text().notNull(),
  permissions: text().array().notNull(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
});
