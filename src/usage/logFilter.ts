import type { Param } from '../db/client.js';
import type { RequestStatus } from '../domain/charge.js';
import type { OrgId } from '../domain/ids.js';
import { firstIdAt } from './logRow.js';

/** Which requests are meant. An empty list or null leaves a dimension open. */
export interface LogFilter {
  /** What may be seen at all: requests of these tokens, none of them if it is empty; null = every request. */
  readonly onlyTokens: readonly string[] | null;
  /** Inclusive; null = from the first row. */
  readonly fromMs: number | null;
  /** Exclusive. */
  readonly toMs: number | null;
  readonly models: readonly string[];
  readonly tokenIds: readonly string[];
  readonly endpoints: readonly string[];
  readonly statuses: readonly RequestStatus[];
  readonly agents: readonly string[];
  readonly conversations: readonly string[];
  readonly endUsers: readonly string[];
  readonly upstreams: readonly string[];
  /** What tokens are labelled with, and who owns them, now. */
  readonly projects: readonly string[];
  readonly members: readonly string[];
  /** Micro-credits. */
  readonly minCost: number | null;
  readonly minLatencyMs: number | null;
  readonly stream: boolean | null;
  /** Up to 32 hex digits of a request id. */
  readonly idPrefix: string | null;
}

export const EVERY_LOG: LogFilter = {
  onlyTokens: null,
  fromMs: null,
  toMs: null,
  models: [],
  tokenIds: [],
  endpoints: [],
  statuses: [],
  agents: [],
  conversations: [],
  endUsers: [],
  upstreams: [],
  projects: [],
  members: [],
  minCost: null,
  minLatencyMs: null,
  stream: null,
  idPrefix: null,
};

/** A `where` under construction: only what is asked for is in it, so that the planner sees which index fits. */
export interface Where {
  readonly parts: string[];
  readonly params: Param[];
}

export function whereOf(orgId: OrgId, filter: LogFilter): Where {
  const where: Where = { parts: [], params: [] };
  add(where, (n) => `r.org_id = ${n}`, orgId);
  if (filter.onlyTokens !== null) add(where, (n) => `r.token_id = any (${n}::text[])`, filter.onlyTokens);
  if (filter.fromMs !== null) addFrom(where, firstIdAt(filter.fromMs));
  if (filter.toMs !== null) addBelow(where, firstIdAt(filter.toMs));
  for (const [column, values] of listsOf(filter)) {
    const [only] = values;
    if (values.length > 1) add(where, (n) => `r.${column} = any (${n}::text[])`, values);
    else if (only !== undefined) add(where, (n) => `r.${column} = ${n}::text`, only);
  }
  addOfTokens(where, filter);
  // Said aloud for the partial index: the planner does not look into parameters.
  if (filter.statuses.length > 0 && !filter.statuses.includes('complete')) where.parts.push("r.status <> 'complete'");
  if (filter.minCost !== null) add(where, (n) => `r.cost >= ${n}::bigint`, filter.minCost);
  if (filter.minLatencyMs !== null) add(where, (n) => `r.latency_ms >= ${n}::int`, filter.minLatencyMs);
  if (filter.stream !== null) where.parts.push(filter.stream ? 'r.stream' : 'not r.stream');
  if (filter.idPrefix !== null) {
    addFrom(where, filter.idPrefix.padEnd(32, '0'));
    add(where, (n) => `r.request_id <= ${n}::text::uuid`, filter.idPrefix.padEnd(32, 'f'));
  }
  return where;
}

/** `$1` is the organization, in every `where` of this folder. */
export function addOfTokens(where: Where, filter: Pick<LogFilter, 'projects' | 'members'>): void {
  const meant = tokensMeant(filter);
  if (meant === null) return;
  const { select, params } = meant(where.params.length + 1);
  where.params.push(...params);
  where.parts.push(`r.token_id in (${select})`);
}

interface Tokens {
  readonly select: string;
  readonly params: readonly Param[];
}

/** The tokens with these labels and owners, with parameters from the given place on; null = nobody asked for labels or owners. */
export function tokensMeant({ projects, members }: Pick<LogFilter, 'projects' | 'members'>): ((from: number) => Tokens) | null {
  const lists = [['project', projects] as const, ['owner_id', members] as const].filter(([, values]) => values.length > 0);
  if (lists.length === 0) return null;
  return (from) => ({
    select: `select x.token_id from tokens x where x.org_id = $1
      ${lists.map(([column], i) => `and x.${column} = any ($${from + i}::text[])`).join(' ')}`,
    params: lists.map(([, values]) => values),
  });
}

/** The ids carry the time, so they narrow the index; `ts` says the same again and leaves out whole months. */
export function addFrom(where: Where, id: string): void {
  add(where, (n) => `r.request_id >= ${n}::text::uuid and r.ts >= request_time('req_' || ${n}::text)`, id);
}

export function addBelow(where: Where, id: string): void {
  add(where, (n) => `r.request_id < ${n}::text::uuid and r.ts <= request_time('req_' || ${n}::text)`, id);
}

export function add(where: Where, say: (place: string) => string, param: Param): void {
  where.params.push(param);
  where.parts.push(say(`$${where.params.length}`));
}

export const listsOf = (filter: LogFilter): readonly (readonly [string, readonly string[]])[] => [
  ['model', filter.models],
  ['token_id', filter.tokenIds],
  ['endpoint', filter.endpoints],
  ['status', filter.statuses],
  ['agent', filter.agents],
  ['conversation', filter.conversations],
  ['end_user', filter.endUsers],
  ['upstream', filter.upstreams],
];
