import { z } from '@hono/zod-openapi';
import type { PriceSource } from '../domain/prices.js';
import { listPriceVersions, readPriceVersion } from '../ledger/priceVersions.js';
import { buildBook, type PriceBook } from '../pricing/book.js';
import { differences, type PriceChange, type WorkedExample, workedExamples } from '../pricing/worked.js';
import { priceVersionSince } from '../usage/priceVersion.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, type DraftFinding, shown } from './deps.js';
import { badCursor, notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';

const WorkedSchema = z
  .strictObject({
    model: z.string(),
    origin: z.enum(['config', 'default', 'unpriced', 'organization']),
    free: z.boolean(),
    /** Micro-credits per unit, exact. */
    rates: z.array(z.strictObject({ meter: z.string(), rate: z.string() })),
    /** 1,000 tokens in and 1,000 out, one image, one minute, 1,000 characters: whatever of it has a price. */
    typical: AmountOutSchema,
    /** The same with 800 of the 1,000 input tokens read from a cache. */
    cached: AmountOutSchema,
  })
  .openapi('WorkedPrice');

const GroupSchema = z.strictObject({ name: z.string(), times: z.string() });
const MeterSchema = z.strictObject({
  ...{ name: z.string(), label: z.string(), unit: z.string(), free: z.boolean(), price: z.string() },
  /** Units, or seconds, of each month that cost nothing. */
  allowance: z.int().nullable(),
});

const RunningSchema = z
  .strictObject({
    version: z.string(),
    in_force_since: TimeOut.nullable(),
    /** Credits per 1M input tokens at ratio 1. */
    base: z.string(),
    default_prices: z.boolean(),
    groups: z.array(GroupSchema),
    meters: z.array(MeterSchema),
    total: z.int(),
    models: z.array(WorkedSchema),
  })
  .openapi('RunningPrices');

const VersionSchema = z.strictObject({ version: z.string(), in_force_since: TimeOut, current: z.boolean() }).openapi('PriceVersion');

const FindingSchema = z.strictObject({
  /** From 1; 0 when it is about no place in the text. */
  line: z.int(),
  column: z.int(),
  path: z.string(),
  message: z.string(),
  severity: z.enum(['error', 'warning']),
});

const changeSchema = <Shape extends z.ZodType>(shape: Shape) =>
  z.array(
    z.strictObject({ name: z.string(), kind: z.enum(['added', 'removed', 'changed']), before: shape.nullable(), after: shape.nullable() }),
  );

const CheckedSchema = z
  .strictObject({
    ok: z.boolean(),
    findings: z.array(FindingSchema),
    /** Of the draft; null when it has mistakes. */
    version: z.string().nullable(),
    running_version: z.string(),
    /** What would change, compared with what is in force; at most 500 models, `total` says how many there are. */
    models: z.strictObject({ total: z.int(), changes: changeSchema(WorkedSchema) }),
    groups: changeSchema(GroupSchema),
    meters: changeSchema(MeterSchema),
  })
  .openapi('CheckedPrices');

const PATH = '/api/v1/admin/prices';
const VERSION = /^pv_[0-9a-f]{16}$/;
const YAML_MAX = 900_000;
const CHANGES_MAX = 500;

export const adminPriceRoutes = (deps: ApiDeps): readonly Route[] => [
  runningRoute(deps),
  versionsRoute(deps),
  versionRoute(deps),
  checkRoute(deps),
];

const runningRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: PATH,
    permission: 'operator.any',
    summary: 'The prices in force, with what typical requests cost',
    tag: 'prices',
    query: z.strictObject({ q: text(200).optional().openapi({ description: 'A part of a model’s name.' }) }),
    answers: { 200: { description: 'The running price book', schema: RunningSchema } },
    handle: async ({ query }) => {
      const book = deps.prices();
      const source = sourceOf(book);
      const all = workedExamples(book);
      const word = query.q?.toLowerCase() ?? '';
      return answer(200, {
        version: book.version,
        in_force_since: timeOutOrNull(await priceVersionSince(deps.db, book.version)),
        base: source.credits.base,
        default_prices: source.defaults,
        groups: groupsOf(source),
        meters: metersOf(source),
        total: all.length,
        models: all.filter(({ model }) => model.toLowerCase().includes(word)).map((one) => workedOut(deps, one)),
      });
    },
  });

function versionsRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: `${PATH}/versions`,
    permission: 'operator.any',
    summary: 'Every price version that ever was in force, newest first',
    tag: 'prices',
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(VersionSchema) } },
    handle: async ({ query }) => {
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, ['price versions']);
      if (typeof place === 'string') return badCursor(place);
      const [since, version] = place;
      const page = await listPriceVersions(deps.db, { after: since && version ? { since, version } : null, limit: query.limit });
      const last = page.rows.at(-1);
      const current = deps.prices().version;
      return answer(200, {
        data: page.rows.map((one) => ({ version: one.version, in_force_since: timeOut(one.since), current: one.version === current })),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.place, last.version], ['price versions']) : null,
      });
    },
  });
}

const versionRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/versions/{version}`,
    permission: 'operator.any',
    summary: 'One price version, whole: what the operator wrote, and the default prices of its day',
    tag: 'prices',
    params: z.object({ version: idParam((value): value is string => VERSION.test(value), 'pv_0123456789abcdef') }),
    answers: {
      200: {
        description: 'The version',
        schema: VersionSchema.extend({ source: z.record(z.string(), z.unknown()), default_models: z.array(z.unknown()) }),
      },
    },
    handle: async ({ params }) => {
      const found = await readPriceVersion(deps.db, params.version);
      if (!found) return notFound('This price version was never in force here.');
      const whole = JSON.parse(found.canonical) as { source: Record<string, unknown>; default_models: unknown[] };
      const { source, default_models: defaults } = whole;
      const current = found.version === deps.prices().version;
      return answer(200, { version: found.version, in_force_since: timeOut(found.since), current, source, default_models: defaults });
    },
  });

const checkRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/check`,
    permission: 'operator.any',
    summary: 'Check a draft of the configuration: what is wrong with its prices, and what they would change; nothing is applied',
    tag: 'prices',
    body: z.strictObject({ yaml: z.string().max(YAML_MAX, `At most ${YAML_MAX} characters.`) }),
    answers: { 200: { description: 'What was found', schema: CheckedSchema } },
    handle: ({ body }) => {
      const running = deps.prices();
      const { prices, findings } = deps.readDraft(body.yaml);
      const { book: next, findings: all } = together(prices, findings);
      const [before, after] = [sourceOf(running), next ? sourceOf(next) : null];
      const changes = next ? differences(running, next) : [];
      return answer(200, {
        ok: next !== null,
        findings: all.map(({ line, column, path, message, severity }) => ({ line, column, path, message, severity })),
        version: next?.version ?? null,
        running_version: running.version,
        models: { total: changes.length, changes: changes.slice(0, CHANGES_MAX).map((one) => changeOut(deps, one)) },
        groups: after ? named(groupsOf(before), groupsOf(after)) : [],
        meters: after ? named(metersOf(before), metersOf(after)) : [],
      });
    },
  });

/** What only all prices together can be wrong about has no line. */
function together(
  prices: PriceSource | null,
  findings: readonly DraftFinding[],
): { readonly book: PriceBook | null; readonly findings: readonly DraftFinding[] } {
  if (prices === null) return { book: null, findings };
  try {
    return { book: buildBook(prices), findings };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { book: null, findings: [...findings, { line: 0, column: 0, path: 'models', message: error.message, severity: 'error' }] };
  }
}

/** The book carries what it was made from, so that any version can be explained. */
const sourceOf = (book: PriceBook): PriceSource => (JSON.parse(book.canonical) as { source: PriceSource }).source;

const groupsOf = (source: PriceSource) => source.groups.map(({ name, times }) => ({ name, times }));
const metersOf = (source: PriceSource) =>
  source.meters.map(({ name, label, unit, free, amount, per, allowance = null }) => ({
    name,
    label,
    unit,
    free,
    price: free ? '0' : per === 1 ? amount : `${amount} per ${per}`,
    allowance,
  }));

/** Lists of things with names, compared. */
function named<Thing extends { readonly name: string }>(before: readonly Thing[], after: readonly Thing[]) {
  const [old, next] = [before, after].map((things) => new Map(things.map((thing) => [thing.name, thing])));
  const names = [...new Set([...before, ...after].map(({ name }) => name))].sort();
  return names.flatMap((name) => {
    const [was, is] = [old?.get(name) ?? null, next?.get(name) ?? null];
    if (JSON.stringify(was) === JSON.stringify(is)) return [];
    return [{ name, kind: was && is ? ('changed' as const) : was ? ('removed' as const) : ('added' as const), before: was, after: is }];
  });
}

const changeOut = (deps: ApiDeps, { model, kind, before, after }: PriceChange) => ({
  name: model,
  kind,
  before: before && workedOut(deps, before),
  after: after && workedOut(deps, after),
});

const workedOut = (deps: ApiDeps, { model, origin, free, rates, typical, cached }: WorkedExample): z.input<typeof WorkedSchema> => ({
  model,
  origin,
  free,
  rates: [...rates],
  typical: shown(deps, typical),
  cached: shown(deps, cached),
});
