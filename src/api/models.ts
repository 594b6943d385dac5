import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { isOrgId } from '../domain/ids.js';
import { type Fraction, fraction, NOTHING, parseFraction } from '../pricing/fraction.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { type EntryOut, EntrySchema, servedEntriesOf } from './priceList.js';
import { badCursor } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, text } from './schemas.js';

const TYPES = ['chat', 'embedding', 'image', 'audio'] as const;

const ModelSchema = EntrySchema.omit({ kind: true, pattern: true, allowance: true })
  .extend({ type: z.enum(TYPES).openapi({ description: 'What it is for, as its prices say.' }) })
  .openapi('Model');

type ModelOut = z.input<typeof ModelSchema>;

export function modelRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    route({
      method: 'get',
      path: '/api/v1/orgs/{org}/models',
      permission: 'pricing.read',
      summary: 'Models that are served here and have a price, with what this organization pays for them',
      tag: 'prices',
      params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
      query: z.strictObject({
        limit: LimitQuery,
        cursor: CursorQuery,
        type: z.enum(TYPES).optional(),
        q: text(256).optional().openapi({ description: 'A part of the name.' }),
        sort: z.enum(['name', 'price']).default('name').openapi({ description: '`price`: the cheapest first.' }),
      }),
      answers: { 200: { description: 'A page', schema: pageSchema(ModelSchema) } },
      handle: async ({ params, query }) => {
        const org = await readOrg({ ctx: deps, orgId: params.org });
        if (!org) return noSuchOrg();
        const { type, q, sort, limit, cursor } = query;
        // Another price list has another order, so its cursors are others.
        const filters = ['models', params.org, deps.prices().version, type ?? null, q ?? null, sort];
        const place = cursor === undefined ? [] : cursors.read(cursor, filters);
        if (typeof place === 'string') return badCursor(place);
        const served = deps.server.upstreams().flatMap(({ models }) => models);
        const found = servedEntriesOf(deps, org, served)
          .map(modelOut)
          .filter((one) => (type === undefined || one.type === type) && one.name.toLowerCase().includes((q ?? '').toLowerCase()));
        const sorted = sort === 'price' ? byPrice(found) : [...found].sort(byName);
        const from = place[0] === undefined ? 0 : sorted.findIndex(({ name }) => name === place[0]) + 1;
        const data = sorted.slice(from, from + limit);
        const last = data.at(-1);
        const hasMore = from + limit < sorted.length;
        return answer(200, { data, has_more: hasMore, next_cursor: hasMore && last ? cursors.make([last.name], filters) : null });
      },
    }),
  ];
}

function modelOut({ kind: _, pattern: __, allowance: ___, ...entry }: EntryOut): ModelOut {
  const has = (meter: string): boolean => entry.prices.some((one) => one.meter === meter);
  const draws = entry.prices.some(({ meter }) => meter === 'image' || meter.startsWith('image.'));
  if (has('second') || has('character')) return { ...entry, type: 'audio' };
  if (draws && !has('output')) return { ...entry, type: 'image' };
  const embeds = entry.category === EMBEDDINGS || /embed/i.test(entry.name) || (has('input') && !has('output'));
  return { ...entry, type: embeds ? 'embedding' : 'chat' };
}

/** The heading of what has a price for input alone, unless the operator gave it another. */
const EMBEDDINGS = 'Embeddings';

const byName = (a: ModelOut, b: ModelOut): number => (a.name < b.name ? -1 : 1);

/** A request to compare by: one of each, a thousand tokens in and out, a minute, a thousand characters. */
const SAMPLE = new Map([
  ...['input', 'output', 'character'].map((meter) => [meter, 1_000n] as const),
  ...['request', 'image'].map((meter) => [meter, 1n] as const),
  ['second', 60n] as const,
]);

function byPrice(models: readonly ModelOut[]): ModelOut[] {
  const priced = models.map((model) => ({ model, cost: sampleCost(model) }));
  const order = (a: Fraction, b: Fraction): bigint => a.n * b.d - b.n * a.d;
  return priced.sort((a, b) => Number(order(a.cost, b.cost)) || byName(a.model, b.model)).map(({ model }) => model);
}

function sampleCost({ prices }: ModelOut): Fraction {
  let cost = NOTHING;
  for (const { meter, price } of prices) {
    const rate = exact(price.credits);
    const [n, d] = [rate.n * (SAMPLE.get(meter) ?? 0n), rate.d * BigInt(price.per)];
    cost = fraction(cost.n * d + n * cost.d, cost.d * d);
  }
  return cost;
}

/** A price as it is shown: "0.075" or "1/3". */
function exact(shown: string): Fraction {
  const [whole = '0', part = ''] = shown.split('.');
  return parseFraction(shown) ?? fraction(BigInt(whole + part), 10n ** BigInt(part.length));
}
