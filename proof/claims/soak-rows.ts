import { judge } from '../oracle/judge.js';
import type { Customer } from '../product.js';
import type { Installation } from './installation.js';
import { bodyOf, type Kind, type Tally } from './soak-clients.js';
import { EVENTS, eventsOf, plain } from './soak-upstream.js';

/**
 * What each kind costs: 20 tokens in at 200 µcr and 10 out at 800; failed ones nothing. What the upstream does not report is
 * counted here by the published rule; only of who leaves it is not known how much was on its way.
 */
const WHOLE = 12_000;
const COSTS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  plain: [WHOLE, WHOLE],
  stream: [WHOLE, WHOLE],
  embedding: [30 * 200, 30 * 200],
  uncounted: [counted('uncounted', plain('uncounted')), counted('uncounted', plain('uncounted'))],
  left: [counted('left', eventsOf(1)), Math.max(WHOLE, counted('left', eventsOf(EVENTS)))],
  cut: [counted('cut', eventsOf(EVENTS / 2)), counted('cut', eventsOf(EVENTS / 2))],
  busy: [0, 0],
  broken: [0, 0],
  garbage: [0, 0],
};
function counted(kind: Kind, answer: string): number {
  const isEvents = bodyOf(kind).includes('"stream":true');
  return judge({
    endpoint: 'chat',
    stream: isEvents,
    request: bodyOf(kind),
    choices: 1,
    price: { input: '200', output: '800', cached: '100' },
    multiplier: '1',
    answer: { status: 200, isEvents, delivered: Buffer.from(answer), end: isEvents ? 'broken' : 'clean' },
    clientLeft: false,
  }).cost;
}

const ENDINGS: Readonly<Record<string, string>> = {
  plain: '200 whole',
  embedding: '200 whole',
  uncounted: '200 whole',
  stream: '200 whole',
  left: '200 left',
  cut: '200 error',
  busy: '502 whole',
  broken: '502 whole',
  garbage: '502 whole',
};

/** Requests of a kind, or of all, that were refused. */
export function refusedIn({ endings }: Tally, kind = ''): number {
  const found = Object.entries(endings).filter(([ending]) => ending.startsWith(kind) && ending.includes(' 503 '));
  return found.reduce((sum, [, count]) => sum + count, 0);
}

/** Every request has one row, and each kind costs what it must. `mayBeRefused`: with 503, and then there is none. */
export async function checkRows(
  site: Pick<Installation, 'postgres'>,
  { orgId }: Customer,
  { tallies, mayBeRefused = false }: { readonly tallies: readonly Tally[]; readonly mayBeRefused?: boolean },
): Promise<string[]> {
  const wrong: string[] = [];
  const rows = await site.postgres.query<{ kind: string; n: number; least: number; most: number }>(
    `select split_part(client_request_id, '-', 1) as kind, count(*) as n, min(cost) as least, max(cost) as most
     from usage_records where org_id = $1 and status <> 'rejected' group by 1`,
    [orgId],
  );
  const sum = (pick: (tally: Tally) => number | undefined): number => tallies.reduce((total, tally) => total + (pick(tally) ?? 0), 0);
  for (const [kind, [least, most]] of Object.entries(COSTS)) {
    const row = rows.find((one) => one.kind === kind);
    const sent = sum((tally) => tally.sent[kind]) - (mayBeRefused ? sum((tally) => refusedIn(tally, `${kind} `)) : 0);
    const good = sum((tally) => tally.endings[`${kind} ${ENDINGS[kind]}`]);
    if (sent !== Number(row?.n ?? 0)) wrong.push(`${kind}: ${sent} served, ${row?.n ?? 0} rows`);
    if (good !== sent) wrong.push(`${kind}: ${sent - good} of ${sent} did not end with ${ENDINGS[kind]}: ${others(tallies, kind)}`);
    if (row && (row.least < least || row.most > most))
      wrong.push(`${kind}: charged ${row.least} to ${row.most}, expected ${least} to ${most}`);
  }
  return wrong;
}

function others(tallies: readonly Tally[], kind: string): string {
  const all = tallies.flatMap(({ endings }) => Object.entries(endings)).filter(([ending]) => ending.startsWith(`${kind} `));
  return all.map(([ending, count]) => `${count} × ${ending}`).join(', ');
}
