import { bigint, boolean, date, integer, json, jsonb, numeric, pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';

// The typed mirror of migrations/; a test holds it to the migrated database. Names are the columns.

const whole = () => bigint({ mode: 'number' });
const moment = () => timestamp({ withTimezone: true });

export const auditLog = pgTable('audit_log', {
  id: whole().notNull(),
  at: moment().notNull(),
  org_id: text(),
  actor: text().notNull(),
  action: text().notNull(),
  subject: text(),
  details: jsonb().notNull(),
  previous_hash: text().notNull(),
  hash: text().notNull(),
  ip: text(),
});

export const codeAttempts = pgTable('code_attempts', {
  id: whole().notNull(),
  org_id: text().notNull(),
  actor: text().notNull(),
  at: moment().notNull(),
  good: boolean().notNull(),
});

export const codeBatches = pgTable('code_batches', {
  batch_id: text().notNull(),
  name: text().notNull(),
  amount: whole().notNull(),
  codes: integer().notNull(),
  valid_until: moment(),
  credits_last_s: whole(),
  for_org: text(),
  for_new: boolean().notNull(),
  disabled_at: moment(),
  created_by: text().notNull(),
  created_at: moment().notNull(),
});

export const codes = pgTable('codes', {
  digest: text().notNull(),
  batch_id: text().notNull(),
  last_four: text().notNull(),
  used_at: moment(),
  used_org: text(),
  used_by: text(),
  used_key: text(),
  grant_id: whole(),
  disabled_at: moment(),
});

export const drainCursors = pgTable('drain_cursors', {
  shard: text().notNull(),
  epoch: text().notNull(),
  cursor: text().notNull(),
  updated_at: moment().notNull(),
});

export const grants = pgTable('grants', {
  grant_id: whole().notNull(),
  org_id: text().notNull(),
  kind: text().notNull(),
  category: text().notNull(),
  priority: integer().notNull(),
  amount: whole().notNull(),
  expires_at: moment(),
  source_type: text(),
  source_id: text(),
  currency: text(),
  unit_cost: text(),
  reason: text(),
  tx_id: whole().notNull(),
  created_at: moment().notNull(),
});

export const idempotencyKeys = pgTable('idempotency_keys', {
  scope: text().notNull(),
  key: text().notNull(),
  request_hash: text().notNull(),
  status: integer(),
  response: jsonb(),
  created_at: moment().notNull(),
  expires_at: moment().notNull(),
});

export const leases = pgTable('leases', {
  name: text().notNull(),
  owner: text().notNull(),
  until: moment().notNull(),
  fence: whole().notNull(),
});

export const ledgerAccounts = pgTable('ledger_accounts', {
  id: whole().notNull(),
  org_id: text(),
  kind: text().notNull(),
  grant_id: whole(),
  balance: whole().notNull(),
  version: whole().notNull(),
  min_balance: whole(),
  max_balance: whole(),
  live: boolean().notNull(),
});

export const ledgerEntries = pgTable('ledger_entries', {
  id: whole().notNull(),
  tx_id: whole().notNull(),
  account_id: whole().notNull(),
  amount: whole().notNull(),
  account_version: whole().notNull(),
  balance_after: whole().notNull(),
  returns_entry_id: whole(),
});

export const ledgerTxs = pgTable('ledger_txs', {
  id: whole().notNull(),
  org_id: text().notNull(),
  kind: text().notNull(),
  idem_key: text(),
  ref_type: text(),
  ref_id: text(),
  meta: jsonb(),
  created_at: moment().notNull(),
});

export const orgBalances = pgTable('org_balances', {
  org_id: text().notNull(),
  avail: whole().notNull(),
  debt: whole().notNull(),
  version: whole().notNull(),
  month: date().notNull(),
  month_spent: whole().notNull(),
  month_ends_at: moment().notNull(),
  untold_version: whole(),
});

export const limitVersions = pgTable('limit_versions', {
  id: whole().notNull(),
  org_id: text().notNull(),
  from_at: moment().notNull(),
  to_at: moment(),
  alert_threshold: whole(),
  allowed_limit: whole(),
  action: text().notNull(),
  critical_ceiling: whole(),
  approach_ratio: numeric().notNull(),
  notify: text().array().notNull(),
  changed_by: text(),
});

export const allowanceUse = pgTable('allowance_use', {
  org_id: text().notNull(),
  month: date().notNull(),
  meter: text().notNull(),
  used: whole().notNull(),
});

export const meterEvents = pgTable('meter_events', {
  org_id: text().notNull(),
  event_id: text().notNull(),
  request_id: text().notNull(),
  at: moment().notNull(),
});

export const organizations = pgTable('organizations', {
  org_id: text().notNull(),
  name: text().notNull(),
  kind: text().notNull(),
  status: text().notNull(),
  overdraft: whole().notNull(),
  monthly_limit: whole(),
  limit_action: text().notNull(),
  critical_ceiling: whole(),
  price_group: text().notNull(),
  prices: jsonb(),
  time_zone: text().notNull(),
  time_zone_changed_at: moment(),
  terms_version: whole().notNull(),
  projected_version: whole().notNull(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
  alert_threshold: whole(),
  approach_ratio: numeric().notNull(),
  limit_notify: text().array().notNull(),
  limits_changed_by: text(),
  made_by: text(),
  closed_at: moment(),
  max_token_quota: whole(),
});

export const poisonRows = pgTable('poison_rows', {
  id: whole().notNull(),
  at: moment().notNull(),
  shard: text(),
  cursor: text(),
  org_id: text(),
  request_id: text(),
  event: text().notNull(),
  error: text().notNull(),
  resolved_at: moment(),
  resolution: text(),
  resolved_by: text(),
  note: text(),
});

export const priceVersions = pgTable('price_versions', {
  hash: text().notNull(),
  canonical: text().notNull(),
  activated_at: moment().notNull(),
});

export const tokenUse = pgTable('token_use', {
  token_id: text().notNull(),
  total: whole().notNull(),
  day: date().notNull(),
  daily: whole().notNull(),
  daily_ends_at: moment().notNull(),
  weekly: whole().notNull(),
  weekly_ends_at: moment().notNull(),
  monthly: whole().notNull(),
  monthly_ends_at: moment().notNull(),
  last_used_at: moment(),
});

export const tokens = pgTable('tokens', {
  token_id: text().notNull(),
  org_id: text().notNull(),
  name: text().notNull(),
  project: text(),
  agent: text(),
  created_by: text(),
  last_four: text().notNull(),
  digest: text().notNull(),
  grace_digest: text(),
  grace_ends_at: moment(),
  status: text().notNull(),
  expires_at: moment(),
  quota_total: whole(),
  quota_daily: whole(),
  quota_weekly: whole(),
  quota_monthly: whole(),
  requests_per_minute: integer().notNull(),
  tokens_per_minute: integer().notNull(),
  concurrency: integer().notNull(),
  critical: boolean().notNull(),
  models: text().array(),
  ips: text().array(),
  terms_version: whole().notNull(),
  projected_version: whole().notNull(),
  created_at: moment().notNull(),
  updated_at: moment().notNull(),
  owner_id: text(),
});

export const usageCorrections = pgTable('usage_corrections', {
  id: whole().notNull(),
  request_id: uuid().notNull(),
  ts: moment().notNull(),
  org_id: text().notNull(),
  tx_id: whole(),
  old_kind: text().notNull(),
  new_kind: text().notNull(),
  old_cost: whole().notNull(),
  new_cost: whole().notNull(),
  old_operator_loss: whole().notNull(),
  new_operator_loss: whole().notNull(),
  at: moment().notNull(),
});

export const usageRecords = pgTable('usage_records', {
  request_id: uuid().notNull(),
  ts: moment().notNull(),
  org_id: text().notNull(),
  token_id: text().notNull(),
  day: date().notNull(),
  tx_id: whole(),
  kind: text().notNull(),
  status: text().notNull(),
  model: text().notNull(),
  served_model: text().notNull(),
  endpoint: text().notNull(),
  upstream: text().notNull(),
  stream: boolean().notNull(),
  http_status: integer().notNull(),
  cost: whole().notNull(),
  held: whole().notNull(),
  debt: boolean().notNull(),
  operator_loss: whole().notNull(),
  source: text().notNull(),
  input: whole().notNull(),
  cached_input: whole().notNull(),
  cache_write_5m: whole().notNull(),
  cache_write_1h: whole().notNull(),
  output: whole().notNull(),
  reasoning: whole().notNull(),
  audio_input: whole().notNull(),
  audio_output: whole().notNull(),
  images: whole().notNull(),
  seconds: whole().notNull(),
  characters: whole().notNull(),
  meters: json(),
  price_version: text().notNull(),
  breakdown: json().notNull(),
  client_request_id: text(),
  end_user: text(),
  agent: text(),
  conversation: text(),
  finish_reason: text(),
  latency_ms: integer().notNull(),
  ttft_ms: integer(),
  flags: text().array().notNull(),
  attempts: integer().notNull(),
  trace: json(),
});

export const usageRollups = pgTable('usage_rollups', {
  org_id: text().notNull(),
  day: date().notNull(),
  token_id: text().notNull(),
  model: text().notNull(),
  endpoint: text().notNull(),
  requests: whole().notNull(),
  errors: whole().notNull(),
  input: whole().notNull(),
  cached_input: whole().notNull(),
  output: whole().notNull(),
  reasoning: whole().notNull(),
  audio: whole().notNull(),
  images: whole().notNull(),
  seconds: whole().notNull(),
  characters: whole().notNull(),
  cost: whole().notNull(),
  operator_loss: whole().notNull(),
});

export const usagePastMonths = pgTable('usage_past_months', {
  month: date().notNull(),
  requests: whole().notNull(),
  cost: numeric().notNull(),
  operator_loss: numeric().notNull(),
  sealed_at: moment().notNull(),
  gone_at: moment(),
  previous_hash: text().notNull(),
  hash: text().notNull(),
});

export const usagePastSums = pgTable('usage_past_sums', {
  month: date().notNull(),
  org_id: text().notNull(),
  day: date().notNull(),
  token_id: text().notNull(),
  model: text().notNull(),
  endpoint: text().notNull(),
  requests: whole().notNull(),
  errors: whole().notNull(),
  input: whole().notNull(),
  cached_input: whole().notNull(),
  output: whole().notNull(),
  reasoning: whole().notNull(),
  audio: whole().notNull(),
  images: whole().notNull(),
  seconds: whole().notNull(),
  characters: whole().notNull(),
  cost: whole().notNull(),
  operator_loss: whole().notNull(),
});

export const usagePastCharges = pgTable('usage_past_charges', {
  tx_id: whole().notNull(),
  month: date().notNull(),
  amount: whole().notNull(),
});
