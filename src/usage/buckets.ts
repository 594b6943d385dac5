import type { Database, Param } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { add, addBelow, addFrom, EVERY_LOG, type LogFilter, type Where, whereOf } from './logFilter.js';
import { firstIdAt } from './logRow.js';
import { type DaySums, SUMS, sumsOf } from './month.js';

export type Dimension = 'model' | 'endpoint' | 'token' | 'project' | 'member' | 'agent' | 'conversation' | 'end_user' | 'upstream';
export type BucketWidth = '1h' | '1d' | '1w' | '1M';
export type Measure = 'cost' | 'requests' | 'tokens' | 'errors';

export interface BucketQuestion {
  readonly orgId: OrgId;
  readonly width: BucketWidth;
  /** Days of the organization, the second one exclusive; for hours also moments. */
  readonly from: string;
  readonly to: string;
  readonly groupBy: readonly Dimension[];
  /** Decides which groups are the `top` ones; all others become one. */
  readonly measure: Measure;
  readonly top: number;
  readonly filter: Pick<LogFilter, 'onlyTokens' | 'models' | 'tokenIds' | 'endpoints' | 'agents' | 'conversations' | 'endUsers'>;
}

export interface BucketRow extends DaySums {
  /** Null in the one row that is the total of everything. */
  readonly starts_at: Date | null;
  readonly ends_at: Date | null;
  /** The first day of the bucket; for hours the day it lies in. */
  readonly date: string | null;
  readonly groups: readonly (string | null)[];
  readonly is_other: boolean;
}

/** The rollups know days, models, endpoints and tokens; everything finer is read from the rows. */
export const needsRows = (question: Pick<BucketQuestion, 'width' | 'groupBy' | 'filter'>): boolean =>
  question.width === '1h' ||
  question.groupBy.some((one) => !ROLLED.has(one)) ||
  question.filter.agents.length + question.filter.conversations.length + question.filter.endUsers.length > 0;

const ROLLED: ReadonlySet<Dimension> = new Set(['model', 'endpoint', 'token', 'project', 'member']);

/** What a token is, and not what a request was. */
const OF_TOKEN: ReadonlySet<Dimension> = new Set(['project', 'member']);

const COLUMNS: Readonly<Record<Dimension, string>> = {
  model: 'r.model',
  endpoint: 'r.endpoint',
  token: 'r.token_id',
  project: 't.project',
  member: 't.owner_id',
  agent: 'r.agent',
  conversation: 'r.conversation',
  end_user: 'r.end_user',
  upstream: 'r.upstream',
};

const START: Readonly<Record<BucketWidth, string>> = {
  '1h': "date_trunc('hour', r.ts, o.time_zone)",
  '1d': 'r.day',
  '1w': "date_trunc('week', r.day)::date",
  '1M': "date_trunc('month', r.day)::date",
};

const LENGTH: Readonly<Record<BucketWidth, string>> = { '1h': '1 hour', '1d': '1 day', '1w': '7 days', '1M': '1 month' };

const RANK: Readonly<Record<Measure, string>> = {
  cost: 'sum(cost)',
  requests: 'sum(requests)',
  tokens: 'sum(input + output)',
  errors: 'sum(errors)',
};

const ROW_SUMS = `count(*) as requests, count(*) filter (where r.status in ('failed', 'rejected')) as errors, coalesce(sum(r.input), 0) as input,
  coalesce(sum(r.cached_input), 0) as cached_input, coalesce(sum(r.output), 0) as output, coalesce(sum(r.cost), 0) as cost`;

/** Sums by time and group, and their total from the same rows: one statement, so that they cannot disagree. */
export async function readBuckets(db: Database, question: BucketQuestion): Promise<readonly BucketRow[]> {
  const { width, groupBy } = question;
  const fromRows = needsRows(question);
  const where = fromRows ? rowsWhere(question) : rollupsWhere(question);
  const [first = 'null::text', second = 'null::text'] = groupBy.map((one) => COLUMNS[one]);
  const hours = width === '1h';
  where.params.push(question.top);
  const top = `$${where.params.length}::int`;
  const starts = hours ? 'f.start' : 'f.start::timestamp at time zone o.time_zone';
  const ends = hours ? "f.start + interval '1 hour'" : `(f.start + interval '${LENGTH[width]}')::timestamp at time zone o.time_zone`;
  const date = hours ? '(f.start at time zone o.time_zone)::date' : 'f.start';
  const sums = SUMS.map((name) => `sum(b.${name})::bigint as ${name}`).join(', ');
  const rows = await db.query<Omit<BucketRow, 'groups'> & { readonly g1: string | null; readonly g2: string | null }>(
    `with o as materialized (select time_zone from organizations where org_id = $1),
    base as materialized (
      select ${START[width]} as start, ${first} as g1, ${second} as g2, ${fromRows ? ROW_SUMS : sumsOf('r')}
      from ${fromRows ? 'usage_records' : 'usage_rollups'} r cross join o ${groupBy.some((one) => OF_TOKEN.has(one)) ? 'left join tokens t on t.token_id = r.token_id' : ''}
      where ${where.parts.join(' and ')} group by 1, 2, 3
    ), weighed as (
      select *, ${RANK[question.measure]} over (partition by g1, g2) as weight from base
    ), ranked as (
      select *, dense_rank() over (order by weight desc, g1, g2) <= ${top} as is_top from weighed
    ), final as (
      select b.start, case when b.is_top then b.g1 end as g1, case when b.is_top then b.g2 end as g2, not b.is_top as is_other, ${sums}
      from ranked b group by 1, 2, 3, 4
    )
    select ${starts} as starts_at, ${ends} as ends_at, ${date} as date, f.g1, f.g2, f.is_other, ${SUMS.map((name) => `f.${name}`).join(', ')}
    from final f cross join o
    union all
    select null, null, null, null, null, false, ${SUMS.map((name) => `coalesce(sum(b.${name}), 0)::bigint`).join(', ')} from base b
    order by 1 nulls last, 6, 12 desc, 4, 5`,
    where.params,
    { idempotent: true },
  );
  return rows.map(({ g1, g2, ...row }) => ({ ...row, groups: [g1, g2].slice(0, groupBy.length) }));
}

function rollupsWhere({ orgId, from, to, filter }: BucketQuestion): Where {
  const where: Where = { parts: [], params: [] };
  add(where, (n) => `r.org_id = ${n}`, orgId);
  if (filter.onlyTokens !== null) add(where, (n) => `r.token_id = any (${n}::text[])`, filter.onlyTokens);
  addDays(where, from, to);
  const lists: [string, readonly string[]][] = [
    ['model', filter.models],
    ['token_id', filter.tokenIds],
    ['endpoint', filter.endpoints],
  ];
  for (const [column, values] of lists) if (values.length > 0) add(where, (n) => `r.${column} = any (${n}::text[])`, values as Param);
  return where;
}

const HOUR_MS = 3_600_000;

function rowsWhere({ orgId, width, from, to, filter }: BucketQuestion): Where {
  const where = whereOf(orgId, { ...EVERY_LOG, ...filter });
  const slack = width === '1h' ? 0 : 14 * HOUR_MS;
  addFrom(where, firstIdAt(Date.parse(from) - slack));
  addBelow(where, firstIdAt(Date.parse(to) + slack));
  if (width !== '1h') addDays(where, from, to);
  return where;
}

function addDays(where: Where, from: string, to: string): void {
  add(where, (n) => `r.day >= ${n}::text::date`, from);
  add(where, (n) => `r.day < ${n}::text::date`, to);
}
