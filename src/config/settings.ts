import { isRange } from '../domain/addresses.js';
import { MICRO_MAX, MICRO_PER_CREDIT } from '../domain/credits.js';
import type { CompatSettings, CreditSettings, GatewaySettings, LogSettings, PricingSettings, Role, Settings } from '../domain/settings.js';
import type { Cursor } from './cursor.js';
import { or, readBoolean, readBytes, readDurationMs, readOneOf, readText, readWhole } from './scalars.js';

/** Every default of the product, with its reason where the name does not say it. `config.example.yaml` shows them all. */

type Server = Pick<
  Settings,
  | 'host'
  | 'port'
  | 'publicUrl'
  | 'trustedProxies'
  | 'operatorKeyIps'
  | 'dataDir'
  | 'roles'
  | 'databaseUrl'
  | 'redisUrl'
  | 'logLevel'
  | 'gatewayProcesses'
>;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export const ROLES: readonly Role[] = ['gateway', 'api', 'worker'];

const SERVER_KEYS = [
  'host',
  'port',
  'public_url',
  'trusted_proxies',
  'operator_key_ips',
  'data',
  'roles',
  'database_url',
  'redis_url',
  'log_level',
  'gateway_processes',
] as const;

export function readServer(at: Cursor): Server {
  const server = at.fields(SERVER_KEYS);
  return {
    host: or(server.host, (here) => readText(here, { max: 255, pattern: HOST, allowed: HOST_ALLOWED }), '127.0.0.1'),
    port: or(server.port, (here) => readWhole(here, { min: 0, max: 65_535 }), 8080),
    publicUrl: or(server.public_url, readPublicUrl, null),
    trustedProxies: server.trusted_proxies.exists ? readRanges(server.trusted_proxies) : [],
    operatorKeyIps: server.operator_key_ips.exists ? someRanges(server.operator_key_ips) : null,
    dataDir: or(server.data, readText, './data'),
    roles: server.roles.exists ? readRoles(server.roles) : ROLES,
    databaseUrl: or(server.database_url, (here) => readUrl(here, DATABASE_URL, DATABASE_ALLOWED), null),
    redisUrl: or(server.redis_url, (here) => readUrl(here, REDIS_URL, REDIS_ALLOWED), null),
    logLevel: or(server.log_level, (here) => readOneOf(here, LOG_LEVELS), 'info'),
    gatewayProcesses: or(server.gateway_processes, (here) => readWhole(here, { min: 0, max: 256 }), 0),
  };
}

export const HOST = /^[A-Za-z0-9._:[\]-]{1,255}$/;
export const HOST_ALLOWED = 'an address or host name to listen on, like 127.0.0.1 or 0.0.0.0';
export const DATABASE_URL = /^postgres(ql)?:\/\/\S+$/;
export const DATABASE_ALLOWED = 'a URL that starts with postgres://';
export const REDIS_URL = /^(rediss?:\/\/\S+|redis-cluster:\/\/([^\s,@/]*@)?[^\s,:/@]+:\d{1,5}(,[^\s,:/@]+:\d{1,5})*)$/;
export const REDIS_ALLOWED = 'redis://host:port, rediss://host:port or redis-cluster://host1:port,host2:port';

function readUrl(at: Cursor, pattern: RegExp, allowed: string): string | undefined {
  const found = at.scalar(allowed);
  if (!found) return undefined;
  return pattern.test(found.text) ? found.text : at.wrong(allowed, { secret: true });
}

function readPublicUrl(at: Cursor): string | undefined {
  const allowed = 'a URL like https://pay.example.com, without a path';
  const text = readText(at, { allowed });
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSound = url && /^https?:$/.test(url.protocol) && url.pathname === '/' && !url.username && !url.search && !url.hash;
  return isSound ? url.origin : at.wrong(allowed);
}

const RANGE_ALLOWED = 'an address or a range such as 10.0.0.0/8 or 2001:db8::/32';

/** A range that holds everybody says nothing, or lets everybody choose an address. */
function readRanges(at: Cursor): readonly string[] {
  return at.items('a list of addresses or ranges such as 10.0.0.0/8').flatMap((item) => {
    const text = readText(item, { max: 50, allowed: RANGE_ALLOWED });
    if (text === undefined) return [];
    if (isRange(text) && !text.endsWith('/0')) return [text];
    item.wrong(isRange(text) ? 'a range of yours, not everybody' : RANGE_ALLOWED);
    return [];
  });
}

function someRanges(at: Cursor): readonly string[] {
  const ranges = readRanges(at);
  if (at.kind === 'list' && ranges.length === 0) at.wrong('at least one range, or null for everybody', { found: 'an empty list' });
  return ranges;
}

function readRoles(at: Cursor): readonly Role[] {
  const roles = at.items('a list of gateway, api and worker').map((item) => readOneOf(item, ROLES));
  const found = ROLES.filter((role) => roles.includes(role));
  if (at.kind === 'list' && roles.length === 0) at.wrong('at least one of gateway, api and worker', { found: 'an empty list' });
  return found.length > 0 ? found : ROLES;
}

export function readCredits(at: Cursor): { readonly credits: CreditSettings; readonly base: Cursor; readonly trialCredits: number } {
  const { name, value, base, trial } = at.fields(['name', 'value', 'base', 'trial']);
  return {
    credits: {
      name: or(name, (here) => readText(here, { max: 32 }), 'credit'),
      value: readValue(value),
    },
    base,
    // 100 credits are $1: enough for a few thousand small requests, not worth stealing.
    trialCredits: or(trial, (here) => readWhole(here, { min: 0, max: Math.floor(MICRO_MAX / MICRO_PER_CREDIT) }), 100),
  };
}

/** Balances stop at 10^9 credits (15 digits of micro-credits, below 2^53), so a credit must be worth something. */
const SMALLEST_VALUE = 0.00001;

function readValue(at: Cursor): CreditSettings['value'] {
  if (!at.exists) return at.kind === 'missing' && at.isStated ? null : { amount: '0.01', currency: 'USD' };
  const allowed = 'an amount and a currency like 0.01 USD, or null to publish no value';
  const found = at.scalar(allowed);
  const match = found && /^(0|[1-9]\d{0,8})(\.\d{1,12})?\s+([A-Z]{3})$/.exec(found.text);
  if (!match || !(Number.parseFloat(found.text) > 0)) return (found && at.wrong(allowed)) ?? null;
  const amount = `${match[1]}${match[2] ?? ''}`;
  if (Number(amount) < SMALLEST_VALUE) {
    at.wrong(`a value of at least ${SMALLEST_VALUE.toFixed(5)}: balances hold up to 999,999,999 credits, which would be worth too little`);
  }
  return { amount, currency: match[3] ?? '' };
}

export function readLogs(at: Cursor): LogSettings {
  const { retention_days } = at.fields(['retention_days']);
  // Whoever comes late is not charged once a month is gone, so a month stays at least as long as anything may be late.
  return { retentionDays: or(retention_days, (here) => readWhole(here, { min: 31, max: 36_500 }), null) };
}

export function readCompat(at: Cursor): CompatSettings {
  const { credits_scope } = at.fields(['credits_scope']);
  // An application that holds a token has no business with the balance of the whole organization, unless somebody says so.
  return { creditsScope: or(credits_scope, (here) => readOneOf(here, ['token', 'org']), 'token') };
}

/** Prices are the operator's business until somebody says that everybody may know them. */
export const readPricing = (at: Cursor): PricingSettings => ({ public: or(at.fields(['public']).public, readBoolean, false) });

const GATEWAY_KEYS = [
  'admission',
  'on_exhaustion',
  'insufficient_quota_status',
  'body_bytes_max',
  'body_depth_max',
  'header_bytes_max',
  'headers_timeout',
  'request_timeout',
  'connections_max',
  'connections_per_address_max',
  'requests_max',
  'wait_max',
  'buffered_response_bytes_max',
  'write_stall',
  'background_finish',
  'background_finish_max',
  'drain',
  'lease',
  'heartbeat',
  'retained_output_bytes_max',
  'journal_sync',
  'journal_bytes_max',
] as const;

const SECOND = 1000;
const HOUR = 3_600_000;

/** Settings that may stand somewhere shorter than under `gateway`. */
interface Short {
  readonly admission: Cursor;
  readonly onExhaustion: Cursor;
  readonly errors: Cursor;
}

export function readGateway(at: Cursor, short: Short): GatewaySettings {
  const field = at.fields(GATEWAY_KEYS);
  const quotaStatus = oneOfTwo(
    short.errors.fields(['insufficient_quota_status']).insufficient_quota_status,
    field.insufficient_quota_status,
  );
  const whole = (min: number, max: number) => (here: Cursor) => readWhole(here, { min, max });
  const bytes = (min: number, max: number) => (here: Cursor) => readBytes(here, { min, max });
  const time = (min: number, max: number) => (here: Cursor) => readDurationMs(here, { min, max });
  const leaseMs = or(field.lease, time(2 * SECOND, 600 * SECOND), 20_000);
  const heartbeatMs = or(field.heartbeat, time(200, 300 * SECOND), 4_000);
  if (heartbeatMs * 3 > leaseMs) {
    (field.heartbeat.exists ? field.heartbeat : field.lease).wrong(
      'a heartbeat of at most a third of the lease, so that one lost beat frees no hold',
      {
        found: `a heartbeat of ${heartbeatMs} ms with a lease of ${leaseMs} ms`,
      },
    );
  }
  return {
    admission: or(oneOfTwo(short.admission, field.admission), (here) => readOneOf(here, ['normal', 'strict']), 'normal'),
    onExhaustion: or(oneOfTwo(short.onExhaustion, field.on_exhaustion), (here) => readOneOf(here, ['finish', 'cut']), 'finish'),
    insufficientQuotaStatus: or(quotaStatus, (here) => readOneOf(here, ['402', '429']), '402') === '429' ? 429 : 402,
    bodyBytesMax: or(field.body_bytes_max, bytes(1024, 1_000_000_000), 20_000_000),
    bodyDepthMax: or(field.body_depth_max, whole(8, 1000), 64),
    headerBytesMax: or(field.header_bytes_max, bytes(1024, 1_000_000), 16_384),
    headersTimeoutMs: or(field.headers_timeout, time(SECOND, 600 * SECOND), 10_000),
    requestTimeoutMs: or(field.request_timeout, time(SECOND, HOUR), 60_000),
    connectionsMax: or(field.connections_max, whole(0, 1_000_000), 0),
    connectionsPerAddressMax: or(field.connections_per_address_max, whole(0, 1_000_000), 0),
    requestsMax: or(field.requests_max, whole(1, 1_000_000), 20_000),
    waitMaxMs: or(field.wait_max, time(0, HOUR), 5_000),
    bufferedResponseBytesMax: or(field.buffered_response_bytes_max, bytes(0, 100_000_000), 1_000_000),
    writeStallMs: or(field.write_stall, time(SECOND, HOUR), 60_000),
    backgroundFinishMs: or(field.background_finish, time(0, HOUR), 300_000),
    backgroundFinishMax: or(field.background_finish_max, whole(0, 100_000), 200),
    drainMs: or(field.drain, time(0, 24 * HOUR), 600_000),
    leaseMs,
    heartbeatMs,
    retainedOutputBytesMax: or(field.retained_output_bytes_max, bytes(1024, 100_000_000), 2_000_000),
    journalSyncMs: or(field.journal_sync, time(0, 60 * SECOND), 0),
    journalBytesMax: or(field.journal_bytes_max, bytes(1_000_000, 1_000_000_000_000), 1_000_000_000),
  };
}

/** `admission` may stand at the top or under `gateway`, but it is said once. */
function oneOfTwo(short: Cursor, long: Cursor): Cursor {
  if (short.exists && long.exists) long.wrong(`one of the two: ${short.path} or ${long.path}`, { found: 'the same setting twice' });
  return short.exists ? short : long;
}
