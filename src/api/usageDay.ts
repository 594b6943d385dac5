import { z } from '@hono/zod-openapi';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId } from '../domain/ids.js';
import { fraction, multiply, NOTHING, parseFraction } from '../pricing/fraction.js';
import { type DayDetail, type DayOperation, readDay } from '../usage/day.js';
import { AllowanceSchema, allowancesOf } from './allowances.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { categoryOf, meterAt, UnitPriceSchema, unitOf, unitOfMeter, unitPrice } from './priceWords.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema } from './schemas.js';
import { DayFilters } from './usageQuery.js';

const ItemSchema = z.strictObject({
  category: z.string(),
  /** The model that was asked for, or the action. */
  operation: z.string(),
  /** The name of an action, as the price list has it; null for models. */
  label: z.string().nullable(),
  endpoint: z.string(),
  /**
   * What was counted; `rounding`: every request is rounded up once; `operator_loss`: carried by the operator; `not_kept`: the
   * single requests are let go, and with them what was counted at which price.
   */
  meter: z.string(),
  quantity: z.number(),
  unit: z.string(),
  unit_price: UnitPriceSchema.nullable(),
  price_version: z.string().nullable(),
  requests: z.int(),
  cost: AmountOutSchema,
});

const DaySchema = z
  .strictObject({
    date: z.iso.date(),
    time_zone: z.string(),
    items: z.array(ItemSchema),
    subtotals: z.array(z.strictObject({ category: z.string(), requests: z.int(), cost: AmountOutSchema })),
    totals: z.strictObject({ requests: z.int(), cost: AmountOutSchema }),
    /** What is left for the month of this day, of the whole organization. What an allowance covered is an item at price 0. */
    allowances: z.array(AllowanceSchema),
  })
  .openapi('UsageDay');

const date = z.iso.date().refine((value) => value >= '2000-01-01' && value <= '2999-12-31');

export const usageDayRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage/days/{date}',
    permission: 'usage.read',
    summary: 'One day, line by line: what was counted, at which price',
    tag: 'usage',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh'), date }),
    query: DayFilters,
    answers: { 200: { description: 'The day', schema: DaySchema } },
    handle: async ({ params, query, reach }) => {
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const filter = { onlyTokens, tokenIds: query.token_id ?? [], agents: query.agent ?? [], conversations: query.conversation ?? [] };
      const [day, allowances] = await Promise.all([
        readDay({ db: deps.db, orgId: params.org, date: params.date, filter }),
        allowancesOf(deps, params.org, params.date),
      ]);
      if (!day) return noSuchOrg();
      const byCategory = new Map<string, { requests: number; cost: number }>();
      const book = deps.prices();
      for (const operation of day.operations) {
        const category = categoryOf(book, operation);
        const { requests, cost } = byCategory.get(category) ?? { requests: 0, cost: 0 };
        byCategory.set(category, { requests: requests + operation.requests, cost: cost + operation.cost });
      }
      const sums = [...byCategory].sort(([a], [b]) => (a < b ? -1 : 1));
      return answer(200, {
        date: params.date,
        time_zone: day.time_zone,
        items: itemsOf(deps, day),
        subtotals: sums.map(([category, { requests, cost }]) => ({ category, requests, cost: shown(deps, cost) })),
        totals: {
          requests: sums.reduce((sum, [, one]) => sum + one.requests, 0),
          cost: shown(
            deps,
            sums.reduce((sum, [, one]) => sum + one.cost, 0),
          ),
        },
        allowances,
      });
    },
  }),
];

export type ItemOut = z.input<typeof ItemSchema>;

/** The lines of a day as the page and the export show them. */
export const itemsOf = (deps: ApiDeps, day: DayDetail): ItemOut[] =>
  day.operations
    .flatMap((operation) => linesOf(deps, operation))
    .sort((a, b) => (a.category < b.category ? -1 : a.category > b.category ? 1 : 0));

/** Lines in whole micro-credits, and what makes them add up to the charges: the rounding of each request, and what was not charged. */
function linesOf(deps: ApiDeps, operation: DayOperation): ItemOut[] {
  const { model, endpoint, price_version, requests, cost, operator_loss } = operation;
  const book = deps.prices();
  const sold = meterAt(book, endpoint);
  const fixed = { category: categoryOf(book, operation), operation: model, label: sold?.label ?? null, endpoint, price_version };
  if (price_version === null) return [extra('not_kept', requests, cost)];
  let rest = cost + operator_loss;
  const items: ItemOut[] = operation.lines.map((line) => {
    const rate = multiply(parseFraction(line.rate) ?? NOTHING, parseFraction(line.times) ?? fraction(1n));
    const exact = multiply(rate, fraction(BigInt(line.quantity)));
    const micro = Number(exact.n / exact.d);
    rest -= micro;
    const { meter, quantity } = line;
    const unit = sold ? unitOfMeter(sold) : unitOf(meter);
    return {
      ...fixed,
      meter,
      quantity,
      unit: unit.unit,
      unit_price: unitPrice(deps, rate, unit),
      requests: line.requests,
      cost: shown(deps, micro),
    };
  });
  if (operation.lines.length === 0 && rest === 0) items.push(extra('request', requests, 0));
  if (rest !== 0) items.push(extra('rounding', requests, rest));
  if (operator_loss !== 0) items.push(extra('operator_loss', requests, -operator_loss));
  return items;

  function extra(meter: string, quantity: number, micro: number): ItemOut {
    return { ...fixed, meter, quantity, unit: 'request', unit_price: null, requests, cost: shown(deps, micro) };
  }
}
