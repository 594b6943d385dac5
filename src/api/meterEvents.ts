import { z } from '@hono/zod-openapi';
import { claimKey } from '../accounts/claimKey.js';
import type { Org } from '../accounts/org.js';
import { readOrg } from '../accounts/readOrg.js';
import { knownTokens, ownToken } from '../billing/meterTokens.js';
import { isTimed, type MeterEvent, priceEvents } from '../billing/priceEvents.js';
import { formatCredits, MICRO_MAX } from '../domain/credits.js';
import { isOrgId, isTokenId, type OrgId } from '../domain/ids.js';
import type { MeterCharge, Metered } from '../ledger/meter.js';
import type { MeterEntry } from '../pricing/book.js';
import { contextFor } from './context.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import {
  conflict,
  creditsAway,
  type FieldError,
  idempotencyMismatch,
  invalid,
  notInForce,
  type Problem,
  refused,
  tooMany,
} from './problem.js';
import { type Answer, answer, type Call, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeIn, text } from './schemas.js';

const EVENTS_MAX = 500;
const QUANTITY_MAX = 1_000_000_000;
const LATE_MAX_MS = 7 * 86_400_000;
const EARLY_MAX_MS = 5 * 60_000;

const EventIn = z.strictObject({
  /** Counts once, for ever, within the organization. */
  event_id: z.string().regex(/^[\x21-\x7e]{1,200}$/, 'Use 1 to 200 printable ASCII characters without spaces.'),
  action: z.string().min(1, 'Name a meter.').max(64, 'At most 64 characters.'),
  quantity: z
    .int('A whole number; for what is sold by time, of seconds.')
    .min(1, '1 or more.')
    .max(QUANTITY_MAX, `At most ${QUANTITY_MAX}.`),
  token_id: z.string().refine(isTokenId, 'A token id looks like tok_07Ab12Cd34Ef56.').nullable().optional(),
  agent: text(200).nullable().optional(),
  conversation: text(200).nullable().optional(),
  at: TimeIn.optional(),
});

const MeterEventsIn = z.strictObject({
  events: z.array(EventIn).min(1, 'Send at least one event.').max(EVENTS_MAX, `At most ${EVENTS_MAX}.`),
});

const MeteredSchema = z
  .strictObject({
    charged: AmountOutSchema,
    /** Booked, less what running requests have not settled yet. */
    balance: AmountOutSchema,
    data: z.array(
      z.strictObject({
        event_id: z.string(),
        duplicate: z.boolean(),
        request_id: z.string(),
        /** Units of it (seconds, for what is sold by time) that the monthly allowance covers. */
        free_quantity: z.int(),
        charged: AmountOutSchema,
      }),
    ),
  })
  .openapi('MeterEvents');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

type MeterCall = Call<z.output<typeof OrgParams>, unknown, z.output<typeof MeterEventsIn>>;

export const meterEventRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/meter-events',
    permission: 'meter.write',
    summary: 'Charge what happened outside /v1: all of the batch or none of it, each event id once',
    tag: 'credits',
    params: OrgParams,
    body: MeterEventsIn,
    keyed: 'required',
    answers: { 200: { description: 'What each event cost', schema: MeteredSchema } },
    handle: (call) => meter(deps, call),
  }),
];

async function meter(deps: ApiDeps, { params, body, actor, idempotencyKey }: MeterCall): Promise<Answer | Problem> {
  const ctx = contextFor(deps, actor);
  const org = await readOrg({ ctx, orgId: params.org });
  if (!org) return noSuchOrg();
  if (org.status === 'suspended') return refused(403, 'organization_suspended', 'This organization is suspended. Contact the operator.');
  const read = await eventsOf(deps, ctx, params.org, body.events);
  if ('kind' in read) return read;
  if (idempotencyKey !== null) {
    // The event ids make repeating safe; the key only tells a repetition from a mistake.
    const key = { scope: `meter:${params.org}`, key: idempotencyKey, request: body };
    if ((await claimKey({ ctx, key, memo: '' })).kind === 'mismatch') return idempotencyMismatch();
  }
  const charges = priceEvents({ org, book: deps.prices(), events: read.events });
  if (!charges) return conflict('group_not_defined', `The price group "${org.price_group}" of this organization is not defined.`);
  const total = charges.reduce((sum, { charge }) => sum + charge.cost, 0);
  if (total > MICRO_MAX) return refused(402, 'request_exceeds_balance', 'This batch costs more than any balance can hold.');
  const metered = await deps.ledger.meter({ orgId: params.org, events: charges, nowMs: deps.clock.nowMs() });
  return meteredAnswer(deps, org, charges, metered);
}

type Read = { readonly events: readonly (MeterEvent & { readonly meter: MeterEntry })[] } | Problem;

/** Every event with its meter and token; every wrong one at once. */
async function eventsOf(
  deps: ApiDeps,
  ctx: ReturnType<typeof contextFor>,
  orgId: OrgId,
  sent: z.output<typeof MeterEventsIn>['events'],
): Promise<Read> {
  const book = deps.prices();
  const nowMs = deps.clock.nowMs();
  const tokens = await knownTokens(ctx, orgId, [...new Set(sent.flatMap((one) => one.token_id ?? []))]);
  const errors: FieldError[] = [];
  const found = sent.map((one, index) => {
    const wrong = (field: string, code: string, message: string) => errors.push({ pointer: `/events/${index}/${field}`, code, message });
    const meterEntry = book.meter(one.action);
    if (!meterEntry) wrong('action', 'unknown_action', unknownAction(one.action, book.meters()));
    const token = one.token_id ? tokens.get(one.token_id) : null;
    if (token === undefined) wrong('token_id', 'unknown_token', 'This organization has no token with this id.');
    const atMs = one.at === undefined ? nowMs : Date.parse(one.at);
    if (atMs < nowMs - LATE_MAX_MS) wrong('at', 'too_late', 'Events are taken up to 7 days after they happened.');
    if (atMs > nowMs + EARLY_MAX_MS) wrong('at', 'in_the_future', 'This time has not come yet.');
    return { one, meterEntry, token, atMs: Math.min(atMs, nowMs) };
  });
  if (errors.length > 0) return invalid(errors.slice(0, 100));
  const own = found.some(({ token }) => token === null) ? await ownToken(ctx, orgId) : undefined;
  const events = found.flatMap(({ one, meterEntry, token, atMs }) => {
    const payer = token ?? own;
    if (!meterEntry || !payer) return [];
    const { event_id: eventId, action, quantity, conversation = null } = one;
    return [{ eventId, action, quantity, tokenId: payer.id, agent: one.agent ?? payer.agent, conversation, atMs, meter: meterEntry }];
  });
  return { events };
}

function unknownAction(action: string, meters: readonly MeterEntry[]): string {
  const names = meters.map((one) => (isTimed(one) ? `${one.name} (seconds)` : one.name)).slice(0, 50);
  return `There is no meter called "${action}". ${names.length > 0 ? `There is: ${names.join(', ')}.` : 'The configuration defines none.'}`;
}

function meteredAnswer(deps: ApiDeps, org: Org, charges: readonly MeterCharge[], metered: Metered): Answer | Problem {
  if (metered.kind === 'unavailable') return creditsAway();
  if (metered.kind === 'short') return shortProblem(deps, org, metered);
  if (!metered.inForce) return notInForce('The charge');
  const rows = charges.map(({ eventId, charge }) => {
    const { requestId, cost, free } = metered.events.get(eventId) ?? { requestId: charge.request_id, cost: charge.cost, free: 0 };
    const duplicate = requestId !== charge.request_id;
    return { eventId, requestId, duplicate, cost: duplicate ? 0 : cost, free: duplicate ? 0 : free };
  });
  return answer(200, {
    charged: shown(
      deps,
      rows.reduce((sum, { cost }) => sum + cost, 0),
    ),
    balance: shown(deps, metered.avail),
    data: rows.map(({ eventId, requestId, duplicate, cost, free }) => ({
      event_id: eventId,
      duplicate,
      request_id: requestId,
      free_quantity: free,
      charged: shown(deps, cost),
    })),
  });
}

const WORDS = {
  balance: { code: 'insufficient_quota', reason: 'balance_empty', says: 'The organization has too few credits.' },
  quota: { code: 'token_quota_exceeded', reason: 'token_quota', says: "A token's quota is too small for this." },
  member: {
    code: 'member_quota_exceeded',
    reason: 'member_quota',
    says: "The monthly quota of a token's owner, shared by all of their tokens, is too small for this.",
  },
  limit: { code: 'monthly_limit_reached', reason: 'limit_reached', says: 'The monthly limit of the organization would be exceeded.' },
  non_critical: {
    code: 'paused_non_critical',
    reason: 'limit_reached',
    says: 'At the monthly limit only critical actions go on, and this batch has others.',
  },
} as const;

/** The same words as the gateway uses for the same thing. */
function shortProblem(deps: ApiDeps, org: Org, short: Extract<Metered, { kind: 'short' }>): Problem {
  const { code, reason, says } = WORDS[short.scope];
  const left = formatCredits(Math.max(0, short.available));
  const detail = `${says} The batch needs ${formatCredits(short.required)} credits, ${left} are left. Nothing was charged.`;
  if (short.inFlight > 0 && short.available + short.inFlight >= short.required && short.scope !== 'non_critical')
    return tooMany('credits_in_flight', `${detail} ${formatCredits(short.inFlight)} are held by running requests: try again.`, 1_000);
  return refused(402, code, detail, {
    limit_source: short.scope,
    ...(short.window ? { window: short.window } : {}),
    required: shown(deps, short.required),
    available: shown(deps, short.available),
    in_flight: shown(deps, short.inFlight),
    resets_at: short.resetsAtMs === null ? null : new Date(short.resetsAtMs).toISOString(),
    resolve_url: `${deps.people.publicUrl}/o/${org.org_id}/quota-exceeded?reason=${reason}`,
  });
}
