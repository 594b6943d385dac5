import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { add, addBelow, addFrom, addOfTokens, EVERY_LOG, type LogFilter, type Where, whereOf } from './logFilter.js';
import { firstIdAt } from './logRow.js';
import { type DaySums, SUMS } from './month.js';

/** `project` and `member` are what the token is labelled with, and who owns it, when the question is asked. */
export type Dimension = 'model' | 'endpoint' | 'token' | 'project' | 'member' | 'agent' | 'conversation' | 'end_user' | 'upstream';
export type BucketWidth = '1m' | '1h' | '1d' | '1w' | '1M';
export type Measure = 'cost' | 'requests' | 'tokens' | 'errors';
/** Counted besides, where somebody asks for it. */
export type Extra = 'reasoning' | 'audio' | 'images' | 'seconds' | 'characters';

export type UsageFilter = Pick<
  LogFilter,
  'onlyTokens' | 'models' | 'tokenIds' | 'endpoints' | 'agents' | 'conversations' | 'endUsers' | 'upstreams' | 'projects' | 'members'
>;

export const ALL_USAGE: UsageFilter = EVERY_LOG;

export interface BucketQuestion {
  readonly orgId: OrgId;
  readonly width: BucketWidth;
  /** Days of the organization, the second one exclusive; for hours and minutes moments. */
  readonly from: string;
  readonly to: string;
  readonly groupBy: readonly Dimension[];
  /** Decides which groups are the `top` ones; all others become one. */
  readonly measure: Measure;
  readonly top: number;
  readonly filter: UsageFilter;
  readonly extras?: readonly Extra[];
}

export interface BucketRow extends DaySums, Partial<Readonly<Record<Extra, number>>> {
  /** Null in the one row that is the total of everything. */
  readonly starts_at: Date | null;
  readonly ends_at: Date | null;
  /** The first day of the bucket; for hours and minutes the day it lies in. */
  readonly date: string | null;
  readonly groups: readonly (string | null)[];
  readonly is_other: boolean;
}

const isFine = (width: BucketWidth): boolean => width === '1h' || width === '1m';

/** The rollups know days, models, endpoints and tokens; everything finer is read from the rows. */
export const needsRows = ({ width, groupBy, filter }: Pick<BucketQuestion, 'width' | 'groupBy' | 'filter'>): boolean =>
  isFine(width) ||
  groupBy.some((one) => !ROLLED.has(one)) ||
  [filter.agents, filter.conversations, filter.endUsers, filter.upstreams].some((values) => values.length > 0);

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
  '1m': "date_trunc('minute', r.ts, o.time_zone)",
  '1h': "date_trunc('hour', r.ts, o.time_zone)",
  '1d': 'r.day',
  '1w': "date_trunc('week', r.day)::date",
  '1M': "date_trunc('month', r.day)::date",
};

const LENGTH: Readonly<Record<BucketWidth, string>> = { '1m': '1 minute', '1h': '1 hour', '1d': '1 day', '1w': '7 days', '1M': '1 month' };

const RANK: Readonly<Record<Measure, string>> = {
  cost: 'sum(cost)',
  requests: 'sum(requests)',
  tokens: 'sum(input + output)',
  errors: 'sum(errors)',
};

/** What of a row makes a sum that has another name there. */
const OF_ROWS: Readonly<Record<string, string>> = {
  requests: 'count(*)',
  errors: "count(*) filter (where r.status in ('failed', 'rejected'))",
  audio: 'coalesce(sum(r.audio_input + r.audio_output), 0)',
};

type Raw = Omit<BucketRow, 'groups'> & Readonly<Record<`g${number}`, string | null>>;

/** Sums by time and group, and their total from the same rows: one statement, so that they cannot disagree. */
export async function readBuckets(db: Database, question: BucketQuestion): Promise<readonly BucketRow[]> {
  const { width, groupBy } = question;
  const fromRows = needsRows(question);
  const where = fromRows ? rowsWhere(question) : rollupsWhere(question);
  const fine = isFine(width);
  where.params.push(question.top);
  const top = `$${where.params.length}::int`;
  const starts = fine ? 'f.start' : 'f.start::timestamp at time zone o.time_zone';
  const ends = fine
    ? `f.start + interval '${LENGTH[width]}'`
    : `(f.start + interval '${LENGTH[width]}')::timestamp at time zone o.time_zone`;
  const date = fine ? '(f.start at time zone o.time_zone)::date' : 'f.start';
  const names = [...SUMS, ...(question.extras ?? [])];
  const g = groupBy.map((_, index) => `g${index + 1}`);
  const every = (say: (name: string) => string, of: readonly string[] = names): string => of.map((name) => `, ${say(name)}`).join('');
  const rolled = (name: string): string => `coalesce(sum(r.${name}), 0)`;
  const rows = await db.query<Raw>(
    `with o as materialized (select time_zone from organizations where org_id = $1),
    base as materialized (
      select ${START[width]} as start${every((one) => `${COLUMNS[groupBy[g.indexOf(one)] ?? 'model']} as ${one}`, g)}
        ${every((name) => `${(fromRows && OF_ROWS[name]) || rolled(name)}::bigint as ${name}`)}
      from ${fromRows ? 'usage_records' : 'usage_rollups'} r cross join o ${groupBy.some((one) => OF_TOKEN.has(one)) ? 'left join tokens t on t.token_id = r.token_id' : ''}
      where ${where.parts.join(' and ')} group by ${[1, ...g.map((_, index) => index + 2)].join(', ')}
    ), weighed as (
      select *, ${RANK[question.measure]} over (${g.length > 0 ? `partition by ${g.join(', ')}` : ''}) as weight from base
    ), ranked as (
      select *, dense_rank() over (order by weight desc${every((one) => one, g)}) <= ${top} as is_top from weighed
    ), final as (
      select b.start, not b.is_top as is_other${every((one) => `case when b.is_top then b.${one} end as ${one}`, g)}${every((name) => `sum(b.${name})::bigint as ${name}`)}
      from ranked b group by ${[1, 2, ...g.map((_, index) => index + 3)].join(', ')}
    )
    select ${starts} as starts_at, ${ends} as ends_at, ${date} as date, f.is_other${every((one) => `f.${one}`, g)}${every((name) => `f.${name}`)}
    from final f cross join o
    union all
    select null, null, null, false${every(() => 'null', g)}${every((name) => `coalesce(sum(b.${name}), 0)::bigint`)} from base b
    order by starts_at nulls last, is_other, cost desc${every((one) => one, g)}`,
    where.params,
    { idempotent: true },
  );
  return rows.map((row) => ({ ...row, groups: groupBy.map((_, index) => row[`g${index + 1}`] ?? null) }));
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
  for (const [column, values] of lists) if (values.length > 0) add(where, (n) => `r.${column} = any (${n}::text[])`, values);
  addOfTokens(where, filter);
  return where;
}

const HOUR_MS = 3_600_000;

function rowsWhere({ orgId, width, from, to, filter }: BucketQuestion): Where {
  const where = whereOf(orgId, { ...EVERY_LOG, ...filter });
  const slack = isFine(width) ? 0 : 14 * HOUR_MS;
  addFrom(where, firstIdAt(Date.parse(from) - slack));
  addBelow(where, firstIdAt(Date.parse(to) + slack));
  if (!isFine(width)) addDays(where, from, to);
  return where;
}

function addDays(where: Where, from: string, to: string): void {
  add(where, (n) => `r.day >= ${n}::text::date`, from);
  add(where, (n) => `r.day < ${n}::text::date`, to);
}
