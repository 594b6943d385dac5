import type { AmountOut } from '../domain/credits.js';
import type { ApiDeps } from './deps.js';
import { type Cell, type Column, csvOf, ndjsonOf } from './table.js';
import type { BucketOut } from './usageBuckets.js';
import type { ItemOut } from './usageDay.js';
import type { DayOut } from './usageMonth.js';
import type { GroupName } from './usageQuery.js';

/** A file of usage in either form; `watched` goes along with every page of rows that is read for it. */
export interface Sheet {
  csv(watched: Watched): AsyncGenerator<string>;
  ndjson(watched: Watched): AsyncGenerator<string>;
}

export type Watched = <Page>(pages: AsyncIterable<Page>) => AsyncIterable<Page>;

export const sheetOf = <Row extends object>(columns: readonly Column<Row>[], pages: AsyncIterable<readonly Row[]>): Sheet => ({
  csv: (watched) => csvOf(columns, watched(pages)),
  ndjson: (watched) => ndjsonOf(watched(pages)),
});

interface Sums {
  readonly requests: number;
  readonly errors: number;
  readonly input: number;
  readonly cached_input: number;
  readonly output: number;
  readonly cost: AmountOut;
}

type Deps = Pick<ApiDeps, 'credits'>;

const costColumns = <Row>({ credits }: Deps, of: (row: Row) => AmountOut | null, what = 'cost'): Column<Row>[] => {
  const currency = credits.value?.currency;
  const exact = (text: string | undefined): Cell => (text === undefined ? null : { exact: text });
  const money: Column<Row>[] = currency ? [{ name: `${what} (${currency})`, of: (row) => exact(of(row)?.money?.amount) }] : [];
  return [
    { name: `${what} (credits)`, of: (row) => exact(of(row)?.credits) },
    { name: `${what} (micro-credits)`, of: (row) => of(row)?.micro ?? null },
    ...money,
  ];
};

const sumColumns = <Row extends Sums>(deps: Deps): Column<Row>[] => [
  { name: 'requests', of: (row) => row.requests },
  { name: 'errors', of: (row) => row.errors },
  { name: 'input (tokens)', of: (row) => row.input },
  { name: 'cached input (tokens)', of: (row) => row.cached_input },
  { name: 'output (tokens)', of: (row) => row.output },
  ...costColumns<Row>(deps, (row) => row.cost),
];

export const dayColumns = (deps: Deps, timeZone: string): readonly Column<DayOut>[] => [
  { name: `day (${timeZone})`, of: (row) => row.date },
  ...sumColumns<DayOut>(deps),
  { name: 'largest item: model', of: (row) => row.top_operation?.model ?? null },
  { name: 'largest item: endpoint', of: (row) => row.top_operation?.endpoint ?? null },
  ...costColumns<DayOut>(deps, (row) => row.top_operation?.cost ?? null, 'largest item: cost'),
];

export type ItemRow = ItemOut & { readonly date: string };

export const itemColumns = (deps: Deps, timeZone: string): readonly Column<ItemRow>[] => [
  { name: `day (${timeZone})`, of: (row) => row.date },
  { name: 'category', of: (row) => row.category },
  { name: 'operation', of: (row) => row.operation },
  { name: 'name', of: (row) => row.label },
  { name: 'endpoint', of: (row) => row.endpoint },
  { name: 'counted', of: (row) => row.meter },
  { name: 'quantity', of: (row) => row.quantity },
  { name: 'unit', of: (row) => row.unit },
  { name: 'unit price (credits)', of: (row) => row.unit_price?.credits ?? null },
  { name: 'unit price is for (units)', of: (row) => row.unit_price?.per ?? null },
  { name: 'price version', of: (row) => row.price_version },
  { name: 'requests', of: (row) => row.requests },
  ...costColumns<ItemRow>(deps, (row) => row.cost),
];

export type GroupRow = Omit<BucketOut['results'][number], 'object'> & Pick<BucketOut, 'date' | 'start_time' | 'end_time'>;

export const groupColumns = (
  deps: Deps,
  { timeZone, names }: { readonly timeZone: string; readonly names: readonly GroupName[] },
): readonly Column<GroupRow>[] => [
  { name: 'from (UTC)', of: (row) => timeOf(row.start_time) },
  { name: 'to (UTC)', of: (row) => timeOf(row.end_time) },
  { name: `day (${timeZone})`, of: (row) => row.date },
  ...names.map((name) => ({ name, of: (row: GroupRow) => row.group[name] ?? null })),
  { name: 'all others', of: (row) => row.other },
  ...sumColumns<GroupRow>(deps),
];

const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString();
