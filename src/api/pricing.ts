import { z } from '@hono/zod-openapi';
import type { Org } from '../accounts/org.js';
import { readOrg } from '../accounts/readOrg.js';
import { NO_USAGE, type Usage } from '../domain/charge.js';
import { isOrgId } from '../domain/ids.js';
import type { ListedModel, MeterEntry, PriceBook } from '../pricing/book.js';
import { charge } from '../pricing/charge.js';
import type { PriceEntry, RateTable } from '../pricing/entry.js';
import { type Fraction, multiply, ONE } from '../pricing/fraction.js';
import { timesFor } from '../pricing/multiplier.js';
import { priceVersionSince } from '../usage/priceVersion.js';
import { AllowanceSchema, allowancesOf } from './allowances.js';
import { STORABLE } from './body.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { UnitPriceSchema, unitOf, unitPrice } from './priceWords.js';
import { notPriced, type Problem, tryAgain } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut } from './schemas.js';

const PricesSchema = z.array(z.strictObject({ meter: z.string(), price: UnitPriceSchema }));

const EntrySchema = z.strictObject({
  /** A model's name, or a pattern ending in `*`; for `kind: "meter"` the name of an action. */
  name: z.string(),
  label: z.string().nullable(),
  kind: z.enum(['model', 'meter']),
  pattern: z.boolean(),
  free: z.boolean(),
  origin: z.enum(['config', 'default', 'unpriced', 'organization']),
  prices: PricesSchema,
  /** From this many input tokens on the whole request has these prices. */
  tiers: z.array(z.strictObject({ from_input_tokens: z.int(), prices: PricesSchema })),
  /** Seconds are rounded up to a multiple of this; 0 or 1 = as they are. */
  step_seconds: z.int(),
  /** Of a meter: what of each month costs nothing, and how much of it is left. */
  allowance: AllowanceSchema.nullable(),
});

const PricingSchema = z
  .strictObject({ version: z.string(), in_force_since: TimeOut.nullable(), total: z.int(), entries: z.array(EntrySchema) })
  .openapi('Pricing');

const Tokens = z.int('A whole number of tokens.').min(0, 'Not negative.').max(1_000_000_000, 'At most 1,000,000,000.');

const EstimateIn = z
  .strictObject({
    model: z.string().min(1, 'Name a model.').max(256).regex(STORABLE),
    /** Counted by the rule that bills: as one user message, unless `messages` is given. */
    text: z.string().max(900_000, 'At most 900,000 characters.').optional(),
    messages: z
      .array(z.looseObject({ role: z.string() }))
      .max(2_000, 'At most 2,000 messages.')
      .optional(),
    input_tokens: Tokens.optional(),
    cached_input_tokens: Tokens.default(0),
    output_tokens: Tokens.default(0),
  })
  .refine((body) => [body.text, body.messages, body.input_tokens].filter((one) => one !== undefined).length === 1, {
    message: 'Send exactly one of text, messages and input_tokens.',
  });

const EstimateOut = z
  .strictObject({
    model: z.string(),
    input_tokens: z.int(),
    cached_input_tokens: z.int(),
    output_tokens: z.int(),
    cost: AmountOutSchema,
    per_1000_requests: AmountOutSchema,
    price_version: z.string(),
  })
  .openapi('Estimate');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

export const pricingRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), estimateRoute(deps)];

const listRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/pricing',
    permission: 'pricing.read',
    summary: 'What everything costs this organization now',
    tag: 'prices',
    params: OrgParams,
    query: z.strictObject({ q: z.string().trim().max(256).optional() }),
    answers: { 200: { description: 'The price list', schema: PricingSchema } },
    handle: async ({ params, query }) => {
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const book = deps.prices();
      const allowances = new Map((await allowancesOf(deps, params.org)).map((one) => [one.meter, one]));
      const words = (query.q ?? '').toLowerCase().split(/\s+/).filter(Boolean);
      const all = [
        ...book.models().flatMap((one) => modelOut(deps, book, org, one)),
        ...book.meters().map((one) => ({ ...meterOut(deps, book, org, one), allowance: allowances.get(one.name) ?? null })),
      ];
      const entries = all.filter(({ name, label }) => words.every((word) => `${name} ${label ?? ''}`.toLowerCase().includes(word)));
      const since = await priceVersionSince(deps.db, book.version);
      return answer(200, { version: book.version, in_force_since: since?.toISOString() ?? null, total: all.length, entries });
    },
  });

function modelOut(deps: ApiDeps, book: PriceBook, org: Org, { name, wildcard, entry }: ListedModel): z.input<typeof EntrySchema>[] {
  const priced = timesFor({ book, group: org.price_group, prices: org.prices, model: name });
  // A pattern is not always a name that it matches itself; its own entry is then what it stands for.
  if (priced.kind === 'refused' && !wildcard) return [];
  const times = priced.kind === 'priced' ? priced.times : book.group(org.price_group);
  if (!times) return [];
  return [
    {
      ...{ name, label: null, kind: 'model', pattern: wildcard, allowance: null },
      ...priceOut(deps, priced.kind === 'priced' ? priced.entry : entry, times),
    },
  ];
}

function meterOut(deps: ApiDeps, book: PriceBook, org: Org, meter: MeterEntry): Omit<z.input<typeof EntrySchema>, 'allowance'> {
  const times = book.group(org.price_group) ?? ONE;
  return { name: meter.name, label: meter.label, kind: 'meter', pattern: false, ...priceOut(deps, meter.entry, times) };
}

function priceOut(deps: ApiDeps, entry: PriceEntry, times: Fraction) {
  return {
    free: entry.free,
    origin: entry.origin,
    prices: pricesOf(deps, entry.table, times),
    tiers: [...entry.tiers].reverse().map(({ from, table }) => ({ from_input_tokens: from, prices: pricesOf(deps, table, times) })),
    step_seconds: entry.stepSeconds,
  };
}

const pricesOf = (deps: ApiDeps, table: RateTable, times: Fraction) =>
  [...table.rates].map(([meter, { value }]) => ({ meter, price: unitPrice(deps, multiply(value, times), unitOf(meter)) }));

const estimateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/pricing/estimate',
    permission: 'pricing.read',
    summary: 'What a request would cost, counted with the tokenizer that bills',
    tag: 'prices',
    params: OrgParams,
    body: EstimateIn,
    answers: { 200: { description: 'Its cost', schema: EstimateOut } },
    handle: async ({ params, body }) => {
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const book = deps.prices();
      const { model } = body;
      const priced = timesFor({ book, group: org.price_group, prices: org.prices, model });
      if (priced.kind === 'refused') return notPriced(priced.message);
      const input = body.input_tokens ?? (await counted(deps, body));
      if (typeof input !== 'number') return input;
      const cached = Math.min(body.cached_input_tokens, input);
      const usage: Usage = { ...NO_USAGE, input, cached_input: cached, output: body.output_tokens };
      const { cost } = charge({ entry: priced.entry, usage, times: priced.times });
      return answer(200, {
        model,
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: body.output_tokens,
        cost: shown(deps, cost),
        per_1000_requests: shown(deps, Math.min(cost * 1_000, Number.MAX_SAFE_INTEGER)),
        price_version: book.version,
      });
    },
  });

async function counted(deps: ApiDeps, body: z.output<typeof EstimateIn>): Promise<number | Problem> {
  const messages = body.messages ?? [{ role: 'user', content: body.text ?? '' }];
  const request = new TextEncoder().encode(JSON.stringify({ model: body.model, messages }));
  try {
    const { input } = await deps.counter.count({ endpoint: 'chat', model: body.model, request, response: [], stream: false });
    return input;
  } catch (error) {
    deps.log.warn({ err: error }, 'an estimate could not be counted');
    return tryAgain('count_unavailable', 'The tokens could not be counted right now. Try again, or send input_tokens.');
  }
}
