import { z } from '@hono/zod-openapi';
import type { Token, TokenChanges } from '../accounts/token.js';
import { isRange } from '../domain/addresses.js';
import { isOrgId, isTokenId } from '../domain/ids.js';
import { EXPIRES_SOON_DAYS, TOKEN_STATES } from '../domain/tokenState.js';
import { type ApiDeps, shown } from './deps.js';
import { idParam } from './route.js';
import { AmountOutSchema, TimeIn, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';
import { QuotaIn, QuotaSchema, QuotasIn, QuotasSchema, quotaColumns, quotasColumns, quotasOut } from './tokenQuotas.js';

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

export const Range = z.string().refine(isRange, 'An address or a range such as "10.0.0.0/8" or "2001:db8::/32".');

const shape = {
  quota: QuotaIn.nullable().optional(),
  quotas: QuotasIn.nullable().optional(),
  expires_at: TimeIn.nullable().optional(),
  models: z.array(Model).min(1, 'Name at least one model, or send null for all.').max(500).nullable().optional(),
  ip_allow: z.array(Range).min(1, 'Name at least one range, or send null for all.').max(500).nullable().optional(),
  rate: z.strictObject({ rpm: Count.optional(), tpm: Count.optional(), concurrency: Count.optional() }).nullable().optional(),
  critical: z.boolean().optional(),
  project: text(200).nullable().optional(),
  agent_id: text(200).nullable().optional().openapi({ description: 'The agent of requests that name none.' }),
};

const saysQuotaOnce = (body: { quota?: unknown; quotas?: unknown }): boolean => body.quota === undefined || body.quotas === undefined;
const TWICE = { path: ['quotas'], message: 'Send quota or quotas, not both.' };

export const TokenCreate = z.strictObject({ name: text(200), ...shape }).refine(saysQuotaOnce, TWICE);
export const TokenPatch = z.strictObject({ name: text(200).optional(), ...shape }).refine(saysQuotaOnce, TWICE);

export const TokenSchema = z
  .strictObject({
    id: z.string(),
    org_id: z.string(),
    name: z.string(),
    project: z.string().nullable(),
    agent_id: z.string().nullable(),
    /** The same word as in live events and in what the overview says needs attention. */
    status: z.enum(TOKEN_STATES),
    last_four: z.string(),
    /** The first of `quotas`. */
    quota: QuotaSchema.nullable(),
    quotas: QuotasSchema,
    used: AmountOutSchema,
    expires_at: TimeOut.nullable(),
    /** `soon`: within seven days. */
    expires: z.enum(['never', 'later', 'soon', 'over']),
    models: z.array(z.string()).nullable(),
    ip_allow: z.array(z.string()).nullable(),
    rate: z.strictObject({ rpm: z.int(), tpm: z.int(), concurrency: z.int() }),
    critical: z.boolean(),
    old_secret_until: TimeOut.nullable(),
    created_by: z.string().nullable(),
    /** The person whose token it is; null = the organization's. */
    owner_id: z.string().nullable(),
    created_at: TimeOut,
    updated_at: TimeOut,
    last_used_at: TimeOut.nullable(),
  })
  .openapi('Token');

/** A token on a page, with what it was charged in the last 30 days of the organization, today included. */
export const TokenWithSpendSchema = TokenSchema.extend({
  spend_30d: z.strictObject({
    total: AmountOutSchema,
    days: z.array(z.int()).openapi({ description: 'Micro-credits, the oldest first.' }),
  }),
}).openapi('TokenWithSpend');

export const TokenWithSecretSchema = TokenSchema.extend({
  secret: z.string().openapi({ description: 'Shown once, here.' }),
}).openapi('TokenWithSecret');

/** What was sent, in the words of the table. Only what was sent: the rest stays as it is. */
export function changesOf(body: z.output<typeof TokenPatch>): TokenChanges {
  const { quota, quotas, rate, ip_allow: ips, agent_id: agent, ...plain } = body;
  return {
    ...(Object.fromEntries(Object.entries({ ...plain, ips, agent }).filter(([, value]) => value !== undefined)) as TokenChanges),
    ...(quota === undefined ? {} : quotaColumns(quota)),
    ...(quotas === undefined ? {} : quotasColumns(quotas)),
    ...(rate === undefined ? {} : rateColumns(rate)),
  };
}

function rateColumns(rate: NonNullable<z.output<typeof TokenPatch>['rate']> | null): TokenChanges {
  if (rate === null) return { requests_per_minute: 0, tokens_per_minute: 0, concurrency: 0 };
  return {
    ...(rate.rpm === undefined ? {} : { requests_per_minute: rate.rpm }),
    ...(rate.tpm === undefined ? {} : { tokens_per_minute: rate.tpm }),
    ...(rate.concurrency === undefined ? {} : { concurrency: rate.concurrency }),
  };
}

function expiryOf(at: string | null, nowMs: number): z.input<typeof TokenSchema>['expires'] {
  if (at === null) return 'never';
  const leftMs = Date.parse(at) - nowMs;
  return leftMs <= 0 ? 'over' : leftMs <= EXPIRES_SOON_DAYS * 86_400_000 ? 'soon' : 'later';
}

export const withSpend = (deps: ApiDeps, token: Token, days: readonly number[] = []): z.input<typeof TokenWithSpendSchema> => ({
  ...tokenOut(deps, token),
  spend_30d: {
    total: shown(
      deps,
      days.reduce((sum, day) => sum + day, 0),
    ),
    days: [...days],
  },
});

export function tokenOut(deps: ApiDeps, token: Token): z.input<typeof TokenSchema> {
  return {
    id: token.token_id,
    org_id: token.org_id,
    name: token.name,
    project: token.project,
    agent_id: token.agent,
    status: token.state,
    last_four: token.last_four,
    ...quotasOut(deps, token),
    used: shown(deps, token.used.total),
    expires_at: timeOutOrNull(token.expires_at),
    expires: expiryOf(token.expires_at, deps.clock.nowMs()),
    models: token.models === null ? null : [...token.models],
    ip_allow: token.ips === null ? null : [...token.ips],
    rate: { rpm: token.requests_per_minute, tpm: token.tokens_per_minute, concurrency: token.concurrency },
    critical: token.critical,
    old_secret_until: timeOutOrNull(token.grace_ends_at),
    created_by: token.created_by,
    owner_id: token.owner_id,
    created_at: timeOut(token.created_at),
    updated_at: timeOut(token.updated_at),
    last_used_at: timeOutOrNull(token.last_used_at),
  };
}
