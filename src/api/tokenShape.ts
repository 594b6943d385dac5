import { isIP } from 'node:net';
import { z } from '@hono/zod-openapi';
import { QUOTA_WINDOWS, type QuotaWindow } from '../accounts/quota.js';
import type { Token, TokenChanges } from '../accounts/token.js';
import { isOrgId, isTokenId } from '../domain/ids.js';
import { type ApiDeps, shown } from './deps.js';
import { idParam } from './route.js';
import { AmountIn, AmountOutSchema, TimeIn, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';

/** `never`: one amount for the whole life of the token. */
export const RESETS = ['never', 'daily', 'weekly', 'monthly'] as const;

export const TokenParams = z.object({
  org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh'),
  token: idParam(isTokenId, 'tok_07Ab12Cd34Ef56'),
});

const COUNT_MAX = 1_000_000_000;
const Count = z.int('A whole number; 0 means no limit.').min(0, '0 or more; 0 means no limit.').max(COUNT_MAX, `At most ${COUNT_MAX}.`);

const Model = z
  .string()
  .regex(/^[^\s*]{1,255}\*?$|^\*$/, 'A model name, which may end in *.')
  .refine((value) => value.length <= 256, 'At most 256 characters.');

const Range = z.string().refine(isRange, 'An address or a range such as "10.0.0.0/8" or "2001:db8::/32".');

const shape = {
  quota: z
    .union([AmountIn, z.strictObject({ amount: AmountIn, reset: z.enum(RESETS).default('never') })])
    .nullable()
    .optional(),
  expires_at: TimeIn.nullable().optional(),
  models: z.array(Model).min(1, 'Name at least one model, or send null for all.').max(500).nullable().optional(),
  ips: z.array(Range).min(1, 'Name at least one range, or send null for all.').max(500).nullable().optional(),
  rate: z.strictObject({ rpm: Count.optional(), tpm: Count.optional(), concurrency: Count.optional() }).nullable().optional(),
  critical: z.boolean().optional(),
  project: text(200).nullable().optional(),
  agent: text(200).nullable().optional(),
};

export const TokenCreate = z.strictObject({ name: text(200), ...shape });
export const TokenPatch = z.strictObject({ name: text(200).optional(), ...shape });

export const TokenSchema = z
  .strictObject({
    id: z.string(),
    org_id: z.string(),
    name: z.string(),
    project: z.string().nullable(),
    agent: z.string().nullable(),
    status: z.enum(['active', 'paused', 'revoked', 'expired']),
    last_four: z.string(),
    quota: z
      .strictObject({
        amount: AmountOutSchema,
        reset: z.enum(RESETS),
        used: AmountOutSchema,
        remaining: AmountOutSchema,
        resets_at: TimeOut.nullable(),
      })
      .nullable(),
    used: AmountOutSchema,
    expires_at: TimeOut.nullable(),
    models: z.array(z.string()).nullable(),
    ips: z.array(z.string()).nullable(),
    rate: z.strictObject({ rpm: z.int(), tpm: z.int(), concurrency: z.int() }),
    critical: z.boolean(),
    old_secret_until: TimeOut.nullable(),
    created_by: z.string().nullable(),
    created_at: TimeOut,
    updated_at: TimeOut,
    last_used_at: TimeOut.nullable(),
  })
  .openapi('Token');

export const TokenWithSecretSchema = TokenSchema.extend({
  secret: z.string().openapi({ description: 'Shown once, here.' }),
}).openapi('TokenWithSecret');

/** What was sent, in the words of the table. Only what was sent: the rest stays as it is. */
export function changesOf(body: z.output<typeof TokenPatch>): TokenChanges {
  const { quota, rate, ...plain } = body;
  return {
    ...(Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined)) as TokenChanges),
    ...(quota === undefined ? {} : quotaColumns(quota)),
    ...(rate === undefined ? {} : rateColumns(rate)),
  };
}

/** A token has one quota; saying a new one ends the old one, whatever its window was. */
function quotaColumns(quota: NonNullable<z.output<typeof TokenPatch>['quota']> | null): TokenChanges {
  const none = { quota_total: null, quota_daily: null, quota_weekly: null, quota_monthly: null };
  if (quota === null) return none;
  if (typeof quota === 'number') return { ...none, quota_total: quota };
  const window = quota.reset === 'never' ? 'total' : quota.reset;
  return { ...none, [`quota_${window}`]: quota.amount };
}

function rateColumns(rate: NonNullable<z.output<typeof TokenPatch>['rate']> | null): TokenChanges {
  if (rate === null) return { requests_per_minute: 0, tokens_per_minute: 0, concurrency: 0 };
  return {
    ...(rate.rpm === undefined ? {} : { requests_per_minute: rate.rpm }),
    ...(rate.tpm === undefined ? {} : { tokens_per_minute: rate.tpm }),
    ...(rate.concurrency === undefined ? {} : { concurrency: rate.concurrency }),
  };
}

export function tokenOut(deps: ApiDeps, token: Token): z.input<typeof TokenSchema> {
  const expired = token.expires_at !== null && Date.parse(token.expires_at) <= deps.clock.nowMs();
  return {
    id: token.token_id,
    org_id: token.org_id,
    name: token.name,
    project: token.project,
    agent: token.agent,
    status: expired && token.status !== 'revoked' ? 'expired' : token.status,
    last_four: token.last_four,
    quota: quotaOut(deps, token),
    used: shown(deps, token.used.total),
    expires_at: timeOutOrNull(token.expires_at),
    models: token.models === null ? null : [...token.models],
    ips: token.ips === null ? null : [...token.ips],
    rate: { rpm: token.requests_per_minute, tpm: token.tokens_per_minute, concurrency: token.concurrency },
    critical: token.critical,
    old_secret_until: timeOutOrNull(token.grace_ends_at),
    created_by: token.created_by,
    created_at: timeOut(token.created_at),
    updated_at: timeOut(token.updated_at),
    last_used_at: timeOutOrNull(token.last_used_at),
  };
}

function quotaOut(deps: ApiDeps, token: Token): z.input<typeof TokenSchema>['quota'] {
  const caps: Readonly<Record<QuotaWindow, number | null>> = {
    total: token.quota_total,
    daily: token.quota_daily,
    weekly: token.quota_weekly,
    monthly: token.quota_monthly,
  };
  const window = QUOTA_WINDOWS.find((name) => caps[name] !== null);
  const cap = window === undefined ? null : caps[window];
  if (window === undefined || cap === null) return null;
  const used = token.used[window];
  return {
    amount: shown(deps, cap),
    reset: window === 'total' ? 'never' : window,
    used: shown(deps, used),
    remaining: shown(deps, Math.max(0, cap - used)),
    resets_at: timeOutOrNull(token.resets_at[window]),
  };
}

function isRange(value: string): boolean {
  const match = /^([0-9A-Fa-f.:]{2,45})(?:\/(\d{1,3}))?$/.exec(value);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && (match?.[2] === undefined || Number(match[2]) <= (family === 4 ? 32 : 128));
}
