import { CREDITS, type World } from './world.js';

/** What has to be at hand to look at the books of one customer. */
export type Books = Pick<World, 'product' | 'customer' | 'command' | 'postgres'>;

const QUIET_MS = 60_000;
const LOOK_AGAIN_MS = 1_000;
/** What is promised for credits whose request is over, however it ended: half a minute later nothing is set aside. */
export const RESOLVED_MS = 30_000;
const MICRO = 1_000_000;

/** When nobody asks any more: how long the last hold stayed open, and everything that is still open or took too long. */
export interface Rest {
  readonly resolvedMs: number;
  readonly wrong: readonly string[];
}

/** Waits until nothing is set aside and everything is booked. */
export async function rest(world: Books): Promise<Rest> {
  const started = Date.now();
  let resolvedMs: number | null = null;
  const over = (wrong: string[]): Rest => {
    const ms = resolvedMs ?? Date.now() - started;
    const late = ms > RESOLVED_MS ? [`credits were set aside until ${ms} ms after the last request was over`] : [];
    return { resolvedMs: ms, wrong: [...wrong, ...late] };
  };
  for (;;) {
    const { inFlight, pending } = await balanceOf(world).catch(() => ({ inFlight: Number.NaN, pending: Number.NaN }));
    const holds = inFlight === 0 ? await openHolds(world).catch(() => Number.NaN) : Number.NaN;
    if (holds === 0) resolvedMs ??= Date.now() - started;
    if (holds > 0) resolvedMs = null;
    // Amounts of 0 do not show in a sum, so the requests themselves have to be gone.
    const left = holds === 0 && pending === 0 ? await leftInStore(world) : ['amounts'];
    if (left.length === 0) return over([]);
    if (Date.now() - started > QUIET_MS)
      return over([`not quiet after ${QUIET_MS} ms: ${inFlight} µcr in flight, ${pending} µcr pending, ${left.join(' and ')} left`]);
    await new Promise((go) => setTimeout(go, 50));
  }
}

export const quiet = async (world: Books): Promise<string[]> => [...(await rest(world)).wrong];

async function balanceOf(world: Books): Promise<Record<'available' | 'inFlight' | 'pending' | 'settled', number>> {
  const { body } = await world.product.api('GET', `/api/v1/orgs/${world.customer.orgId}/balance`);
  const micro = (name: string) => Number((body[name] as { micro?: number } | undefined)?.micro ?? Number.NaN);
  return { available: micro('available'), inFlight: micro('in_flight'), pending: micro('pending'), settled: micro('settled') };
}

/** Each running request of the shard has a deadline; what stands at the end of time is none. */
const openHolds = async (world: Books): Promise<number> =>
  numberOf(await world.command('ZCOUNT', `{${shardOf(world)}}:deadlines`, '-inf', '(+inf'));

/** Requests that run, and settlements that Postgres does not have. */
async function leftInStore(world: Books): Promise<string[]> {
  const count = numberOf(await world.command('HLEN', `{${shardOf(world)}}:requests:${world.customer.orgId}`));
  return count === 0 ? [] : [`${count} requests`];
}

const shardOf = ({ customer }: Books): string => customer.orgId.slice(4, 6);
const numberOf = (reply: string): number => (reply.startsWith(':') ? Number(reply.slice(1)) : Number.NaN);

const COUNTS: readonly (readonly [what: string, sql: string])[] = [
  [
    'ledger transactions that do not add up',
    'select count(*) as n from (select 1 from ledger_entries group by tx_id having sum(amount) <> 0) t',
  ],
  ['µcr that all accounts together are off', 'select coalesce(sum(balance), 0) as n from ledger_accounts'],
  ['rows charged twice', 'select count(*) as n from (select 1 from usage_records group by request_id having count(*) > 1) t'],
  [
    'µcr between rows and rollups',
    'select (select coalesce(sum(cost), 0) from usage_records) - (select coalesce(sum(cost), 0) from usage_rollups) as n',
  ],
  ['rows set aside as poison', 'select count(*) as n from poison_rows'],
  ['balances below zero', 'select count(*) as n from org_balances where avail < 0 and debt = 0'],
];

/**
 * The invariants of the books, from outside: SQL, Redis keys, the balance over HTTP, and the product's own reconciliation. A gateway
 * that starts again, or learns late of a loss of Redis, says again what it cannot know to be booked: until the drain has met these a
 * second time they are set aside once more. So after such a fault only what is wrong for so long counts.
 */
export async function checkBooks(world: Books, withinMs = 0): Promise<string[]> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const wrong = await lookAtBooks(world).catch((error: unknown) => [`the books could not be checked: ${String(error)}`]);
    if (wrong.length === 0 || Date.now() >= deadline) return wrong;
    await new Promise((go) => setTimeout(go, LOOK_AGAIN_MS));
  }
}

async function lookAtBooks(world: Books): Promise<string[]> {
  const wrong: string[] = [];
  const number = async (sql: string, values: readonly unknown[] = []) =>
    Number((await world.postgres.query<{ n: number }>(sql, values))[0]?.n);
  for (const [what, sql] of COUNTS) {
    const found = await number(sql);
    if (found !== 0) wrong.push(`${found} ${what}`);
  }
  const { orgId } = world.customer;
  const spent = await number('select coalesce(sum(cost), 0) as n from usage_records where org_id = $1', [orgId]);
  const balance = await balanceOf(world);
  const expected = CREDITS * MICRO - spent;
  if (balance.settled !== expected) wrong.push(`the balance is ${balance.settled}, granted less charged is ${expected}`);
  if (balance.available !== balance.settled) wrong.push(`available ${balance.available} is not settled ${balance.settled}`);
  for (const name of await leftInStore(world)) wrong.push(`the hot store still has ${name} of ${orgId}`);
  const report = await world.product.api('GET', '/api/v1/admin/reconciliation');
  if (report.status !== 200 || report.body['clean'] !== true) {
    wrong.push(`reconcile (${report.status}): ${JSON.stringify(report.body['findings'] ?? report.body).slice(0, 600)}`);
  }
  return wrong;
}
