import type { Seen } from '../../test/support/upstream.js';
import { type Evidence, judge } from '../oracle/judge.js';
import type { Entry } from './load.js';
import type { World } from './world.js';

/** What a fault may do to requests while it lasts. Everything else is a violation. */
export interface Allowance {
  /** A gateway died: an answer may break off, and what it is charged lies between its floor and its full price. */
  readonly crash: boolean;
  /** Requests may be refused with 503 and a retry hint. */
  readonly refusals: boolean;
  /** The upstream itself was cut: any request may end in 502 or an error event. */
  readonly upstream?: boolean;
}

export interface Audit {
  requests: number;
  admitted: number;
  refused: number;
  broken: number;
  charges: number;
  charged: number;
  duplicates: number;
  lost: number;
  drift: number;
  violations: string[];
}

export interface Row {
  readonly tag: string;
  readonly request_id: string;
  readonly status: string;
  readonly cost: number;
  readonly held: number;
  readonly debt: boolean;
}

const PRICE = { input: '200', output: '800', cached: '100' };

export const emptyAudit = (): Audit => ({
  requests: 0,
  admitted: 0,
  refused: 0,
  broken: 0,
  charges: 0,
  charged: 0,
  duplicates: 0,
  lost: 0,
  drift: 0,
  violations: [],
});

export function addAudit(sum: Audit, more: Audit): void {
  for (const key of ['requests', 'admitted', 'refused', 'broken', 'charges', 'charged', 'duplicates', 'lost', 'drift'] as const) {
    sum[key] += more[key];
  }
  sum.violations.push(...more.violations);
}

/** Compares what every client saw, what the upstream wrote down and what the books say, request by request. */
export async function auditEntries(
  world: Pick<World, 'postgres' | 'upstream'>,
  entries: readonly Entry[],
  allowed: Allowance,
): Promise<Audit> {
  const rows = await world.postgres.query<Row>(
    `select client_request_id as tag, request_id::text, status, cost, held, debt from usage_records
     where client_request_id = any(string_to_array($1, ',')) and status <> 'rejected'`,
    [entries.map(({ tag }) => tag).join(',')],
  );
  const rowsOf = groupBy(rows, (row) => row.tag);
  const seenOf = groupBy(
    world.upstream.requests.filter((seen) => seen !== undefined),
    (seen) => String(seen.json['user']),
  );
  const audit = emptyAudit();
  for (const entry of entries) {
    const about = { entry, rows: rowsOf.get(entry.tag) ?? [], seen: seenOf.get(entry.tag) ?? [], allowed };
    checkAnswer(audit, about);
    checkRows(audit, about);
  }
  checkTwins(audit, entries, seenOf);
  return audit;
}

export interface About {
  readonly entry: Entry;
  readonly rows: readonly Row[];
  readonly seen: readonly Seen[];
  readonly allowed: Allowance;
}

const stays = (entry: Entry): boolean => entry.plan.client !== 'leaves' && entry.plan.client !== 'half_closes';
const isWhole = ({ plan, result }: Entry): boolean =>
  result?.status === 200 && result.ending === 'complete' && (!plan.stream || result.done);

function checkAnswer(audit: Audit, { entry, seen, allowed }: About): void {
  const { plan, result } = entry;
  const blame = (words: string) => void audit.violations.push(`${entry.tag} (${plan.kind}): ${words}`);
  audit.requests += 1;
  if (entry.hung) blame('its client waited in vain');
  if (!result) {
    // Who closes its half, or leaves, has given up its answer.
    if (stays(entry)) audit.broken += 1;
    if (!allowed.crash && stays(entry)) blame(`no answer at all, ${entry.endedMs - entry.startedMs} ms after it was sent`);
    return;
  }
  if (result.status === 503) {
    audit.refused += 1;
    if (!allowed.refusals && !allowed.crash) blame(`refused: ${result.body.toString().slice(0, 200)}`);
    if (!result.headers.has('retry-after')) blame('503 without Retry-After');
    if (seen.length > 0 && !allowed.crash) blame('refused, but the upstream saw it');
    return;
  }
  if (seen.length > 0) audit.admitted += 1;
  const isPlanned = plan.statuses.includes(result.status) || (allowed.upstream && result.status >= 502 && result.status <= 504);
  if (!isPlanned) blame(`status ${result.status}: ${result.body.toString().slice(0, 200)}`);
  const hasError = result.body.includes('"error"');
  const isBroken = result.status === 200 && stays(entry) && !isWhole(entry) && !(hasError && (plan.kind === 'cut' || allowed.upstream));
  if (isBroken) audit.broken += 1;
  if (isBroken && !allowed.crash) blame(`broken answer (${result.ending}${hasError ? ', error event' : ''})`);
}

function checkRows(audit: Audit, about: About): void {
  const { entry, rows, seen, allowed } = about;
  const blame = (words: string) => void audit.violations.push(`${entry.tag} (${entry.plan.kind}): ${words}`);
  if (rows.length > 1 || new Set(seen.map((one) => one.headers.get('x-client-request-id'))).size > 1) {
    audit.duplicates += 1;
    blame(`${rows.length} rows, ${seen.length} calls upstream`);
  }
  const [row] = rows;
  if (!row) {
    if (seen.length > 0) {
      audit.lost += 1;
      blame('the upstream served it, and there is no row');
    }
    return;
  }
  audit.charged += row.cost;
  if (row.cost > 0) audit.charges += 1;
  if (row.cost > row.held && !row.debt) blame(`charged ${row.cost}, held ${row.held}`);
  const [least, most] = bounds(about);
  const off = row.cost < least ? least - row.cost : row.cost > most ? row.cost - most : 0;
  audit.drift += off;
  if (off > 0) blame(`charged ${row.cost} (${row.status}), expected ${least === most ? least : `${least} to ${most}`}`);
  if (isWhole(entry) && row.status !== 'complete' && !allowed.crash) blame(`the client has all of it, the row says ${row.status}`);
}

/** What the request must have cost: one amount, or after a crash or a client that left, the two ends. */
export function bounds({ entry, seen, allowed }: About): [number, number] {
  const { plan } = entry;
  const last = seen.at(-1);
  if (!last) return [0, 0];
  const exact = verdictOf(entry, last, false);
  if (stays(entry) && !allowed.crash) return [exact, exact];
  const isReported = last.usageSent !== undefined && last.usageSent !== null;
  if (isWhole(entry)) return [isReported || !allowed.crash ? exact : 0, exact];
  const left = Math.max(exact, verdictOf(entry, last, true));
  // Whoever dies before the upstream's last words has its own count of what was asked and delivered.
  const most = allowed.crash && plan.stream ? Math.max(left, verdictOf(entry, beforeUsage(last), true)) : left;
  if (allowed.crash) return [crashFloor(entry), most];
  // All of the answer may have been there before anybody noticed that its client was gone; and then its report is believed,
  // although what the client had read by then would count for more.
  return [Math.min(atLeast(entry, last), exact), most];
}

function verdictOf(entry: Entry, seen: Seen, left: boolean): number {
  const { plan } = entry;
  const evidence: Evidence = {
    endpoint: plan.endpoint,
    stream: plan.stream,
    request: entry.body,
    choices: 1,
    price: PRICE,
    multiplier: '1',
    answer: {
      status: plan.answer.status ?? 200,
      isEvents: plan.stream && (plan.answer.status ?? 200) === 200,
      delivered: seen.delivered,
      end: left ? 'left' : seen.ending === 'complete' ? 'clean' : seen.ending === 'aborted' && !stays(entry) ? 'left' : 'broken',
    },
    clientLeft: left || !stays(entry),
  };
  return judge(evidence).cost;
}

/** As it was when the usage had not come yet. */
function beforeUsage(seen: Seen): Seen {
  const at = seen.delivered.lastIndexOf('data:', Math.max(0, seen.delivered.lastIndexOf('"usage":{')));
  return at > 0 ? { ...seen, delivered: seen.delivered.subarray(0, at), ending: 'aborted' } : seen;
}

/** A client that left pays at least for what it had read by then. */
function atLeast(entry: Entry, seen: Seen): number {
  if (!entry.result || !entry.plan.stream) return 0;
  return verdictOf(entry, { ...seen, delivered: entry.result.body, ending: 'aborted' }, true);
}

const CHECKPOINT_MS = 3_000;

/** A stream that had run for longer than the checkpoints are apart is never free. What it waited before it began does not count. */
function crashFloor({ plan, result, endedMs }: Entry): number {
  if (result?.status !== 200 || !plan.stream || result.begunMs === null) return 0;
  return endedMs - result.begunMs > CHECKPOINT_MS ? 1 : 0;
}

/** Of two requests with one key at most one reaches the upstream. */
function checkTwins(audit: Audit, entries: readonly Entry[], seenOf: ReadonlyMap<string, Seen[]>): void {
  for (const [key, twins] of groupBy(
    entries.filter(({ twin }) => twin !== null),
    ({ twin }) => String(twin),
  )) {
    const served = twins.filter(({ tag }) => seenOf.has(tag));
    if (served.length <= 1) continue;
    audit.duplicates += 1;
    audit.violations.push(`${key}: both requests with this Idempotency-Key were served`);
  }
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
