// How quickly logs and usage are read at a million rows of one organization, and what their indexes cost the drain.
// `node --import tsx bench/usage.ts [rows]`; TEST_DATABASE_URL=… to measure a server with your own settings.

import { type Database, openDatabase } from '../src/db/client.js';
import { newOrgId, newTokenId, type TokenId } from '../src/domain/ids.js';
import { postCharges } from '../src/ledger/post.js';
import { ALL_USAGE, type BucketQuestion, readBuckets } from '../src/usage/buckets.js';
import { readDay } from '../src/usage/day.js';
import { readYear } from '../src/usage/history.js';
import { listLogs } from '../src/usage/listLogs.js';
import { EVERY_LOG, type LogFilter } from '../src/usage/logFilter.js';
import { readMonth } from '../src/usage/month.js';
import { readRecent } from '../src/usage/recent.js';
import { sumLogs } from '../src/usage/sumLogs.js';
import { freshDatabase, startPostgres } from '../test/support/postgres.js';
import { chargeOf } from './charges.js';

const ROWS = Number(process.argv[2] ?? 1_000_000);
const DAYS = 30;
const TOKENS = 200;
const REPEATS = 20;
const TARGET_MS = 200;
const DAY_MS = 86_400_000;
const INDEXES = ['token', 'model', 'agent', 'conversation', 'end_user', 'status'].map((name) => `usage_records_of_${name}`);

const server = await startPostgres();
const database = await freshDatabase(server.url);
const db = openDatabase({ url: database.url, max: 4, timeoutMs: 600_000 });
const orgId = newOrgId();
const tokens = Array.from({ length: TOKENS }, () => newTokenId(orgId));
const now = Date.now();
const from = now - DAYS * DAY_MS;

const filled = performance.now();
await fill();
console.log(`${ROWS} rows over ${DAYS} days, made in ${Math.round((performance.now() - filled) / 1000)} s\n`);
console.log('| what | p50 ms | p95 ms | max ms |  |');
console.log('|---|---|---|---|---|');
await reads();
console.log();
await writes();
await db.close();
await database.drop();
await server.stop();

async function reads(): Promise<void> {
  const scope = { db, orgId };
  const page = (name: string, filter: Partial<LogFilter>): Promise<void> =>
    measure(`page: ${name}`, () => listLogs({ ...scope, filter: { ...EVERY_LOG, ...filter }, before: null, limit: 50 }));
  const totals = (name: string, filter: Partial<LogFilter>): Promise<void> =>
    measure(`totals: ${name}`, () => sumLogs({ ...scope, filter: { ...EVERY_LOG, ...filter } }));
  const rare: [string, Partial<LogFilter>][] = [
    ['a rare model', { models: ['model-39'] }],
    ['three models', { models: ['model-1', 'model-20', 'model-39'] }],
    ['one token', { tokenIds: tokens.slice(7, 8) }],
    ['failed or rejected', { statuses: ['failed', 'rejected'] }],
    ['refused', { statuses: ['rejected'] }],
    ['refused, of an agent', { statuses: ['rejected'], agents: ['agent-3'] }],
    ['an agent', { agents: ['agent-3'] }],
    ['a conversation', { conversations: ['conversation-5'] }],
    ['an end user', { endUsers: ['user-70'] }],
    ['an upstream', { upstreams: ['second'] }],
    ['streams', { stream: true }],
    ['cost ≥ what few rows have', { minCost: 999_000 }],
    ['cost ≥ what no row has', { minCost: 2_000_000 }],
    ['seven days', { fromMs: now - 7 * DAY_MS, toMs: now }],
    ['a large project', { projects: ['project-0'] }],
    ['a small project', { projects: ['project-9'] }],
    ['a project nobody used', { projects: ['project-idle'] }],
    ['a member', { members: ['usr_bench3'] }],
    ['a member and a model', { members: ['usr_bench3'], models: ['model-20'] }],
    ['a member, an agent and seven days', { members: ['usr_bench3'], agents: ['agent-3'], fromMs: now - 7 * DAY_MS, toMs: now }],
    ['a conversation of a project', { projects: ['project-0'], conversations: ['conversation-5'] }],
    ['latency ≥ what few requests took', { minLatencyMs: 59_000 }],
    ['latency ≥ what no request took', { minLatencyMs: 3_600_000 }],
    ['a token and a model', { tokenIds: tokens.slice(7, 8), models: ['model-20'] }],
  ];
  await page('first, no filter', {});
  for (const [name, filter] of rare) await page(name, filter);
  await totals('everything', {});
  await totals('30 days to the minute', { fromMs: from + 3_700_000, toMs: now - 3_700_000 });
  for (const [name, filter] of rare) await totals(name, filter);
  await measure('monthly overview', () => readMonth({ ...scope, month: null, nowMs: now, onlyTokens: null }));
  await measure('history of a year', () => readYear({ ...scope, year: null, nowMs: now, onlyTokens: null }));
  await measure('overview', () => readRecent({ ...scope, nowMs: now, onlyTokens: null }));
  await measure('one day, line by line', () =>
    readDay({ ...scope, date: dayText(now - 3 * DAY_MS), filter: { onlyTokens: null, tokenIds: [], agents: [], conversations: [] } }),
  );
  const question: BucketQuestion = {
    ...{ orgId, width: '1d', from: dayText(from), to: dayText(now + DAY_MS), measure: 'cost', top: 10 },
    groupBy: ['model', 'token'],
    filter: ALL_USAGE,
  };
  await measure('30 days by model and token', () => readBuckets(db, question));
  await measure('30 days by project and member', () => readBuckets(db, { ...question, groupBy: ['project', 'member'] }));
  await measure('30 days by model, of one member', () =>
    readBuckets(db, { ...question, groupBy: ['model'], filter: { ...ALL_USAGE, members: ['usr_bench3'] } }),
  );
  await measure('30 days by end user (from rows)', () => readBuckets(db, { ...question, groupBy: ['end_user'] }));
  await measure('24 hours by hour (from rows)', () =>
    readBuckets(db, { ...question, width: '1h', from: new Date(now - DAY_MS).toISOString(), to: new Date(now).toISOString(), groupBy: [] }),
  );
}

async function measure(name: string, work: () => Promise<unknown>): Promise<void> {
  const times: number[] = [];
  await work();
  for (let i = 0; i < REPEATS; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
    if (times.length >= 5 && times.reduce((sum, ms) => sum + ms, 0) > 8_000) break;
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  const p95 = at(0.95);
  console.log(`| ${name} | ${at(0.5).toFixed(1)} | ${p95.toFixed(1)} | ${at(1).toFixed(1)} | ${p95 > TARGET_MS ? 'over' : ''} |`);
}

/** The same batches with the indexes of the logs and without them. */
async function writes(): Promise<void> {
  const dear = await batches();
  const alone: number[] = [];
  for (const index of INDEXES) await db.script(`drop index ${index}`);
  alone.push(await batches());
  console.log(`booking 4,000 charges: ${dear.toFixed(0)} ms with the indexes of the logs, ${(alone[0] ?? 0).toFixed(0)} ms without`);
}

async function batches(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    const events = Array.from({ length: 4_000 }, (_, n) =>
      chargeOf({ orgId, tokenId: tokens[n % TOKENS] as TokenId }, { model: `model-${n % 40}`, stream: true, endUser: null }),
    );
    const started = performance.now();
    await postCharges(db, events);
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[4] ?? 0;
}

async function fill(): Promise<void> {
  await db.query("insert into organizations (org_id, name) values ($1, 'bench')", [orgId]);
  await db.query(
    `insert into tokens (token_id, org_id, name, digest, project, owner_id)
     select t, $1, 'bench', repeat('0', 64), 'project-' || floor((n - 1) / 20), 'usr_bench' || (n % 10)
     from unnest($2::text[]) with ordinality u (t, n)`,
    [orgId, tokens],
  );
  await db.query("insert into tokens (token_id, org_id, name, digest, project) values ($1, $2, 'idle', repeat('0', 64), 'project-idle')", [
    newTokenId(orgId),
    orgId,
  ]);
  await db.query('select ensure_usage_partitions($1::timestamptz, 2)', [new Date(from)]);
  await insertRows(db);
  await db.query(
    `insert into usage_rollups select org_id, day, token_id, model, endpoint, count(*), count(*) filter (where status in ('failed', 'rejected')),
      sum(input), sum(cached_input), sum(output), sum(reasoning), 0, 0, 0, 0, sum(cost), sum(operator_loss)
     from usage_records group by org_id, day, token_id, model, endpoint`,
  );
  await db.script('vacuum analyze usage_records');
  await db.script('vacuum analyze usage_rollups');
}

/** Rows as gateways make them, in order of time; models and tokens as unequal as in life. */
async function insertRows(to: Database): Promise<void> {
  const step = 250_000;
  for (let first = 0; first < ROWS; first += step) {
    await to.query(
      `insert into usage_records select
        (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || substr(md5(n::text), 1, 15))::uuid,
        to_timestamp(ms::float8 / 1000), $1, ($2::text[])[1 + floor(${TOKENS} * power(r, 3))::int], (to_timestamp(ms::float8 / 1000) at time zone 'UTC')::date,
        null, 'final', case when n % 50 = 0 then 'failed' when n % 70 = 0 then 'rejected' when n % 90 = 0 then 'cancelled' else 'complete' end,
        'model-' || floor(40 * power(q, 3))::int, 'served', '/chat/completions', case when n % 5000 = 0 then 'second' else 'first' end, n % 2 = 0, 200,
        (1000000 * q * r)::bigint, 20000, false, 0, 'upstream', (3000 * r)::bigint, (100 * q)::bigint, 0, 0, (500 * q)::bigint, 0, 0, 0, 0, 0, 0, null,
        'pv_0123456789abcdef', '{"lines":[{"meter":"input","quantity":1200,"rate":"15"},{"meter":"output","quantity":250,"rate":"60"}],"times":"1"}'::json,
        null, case when n % 10 = 0 then 'user-' || n % 5000 end, case when n % 20 = 0 then 'agent-' || n % 100 / 20 end,
        case when n % 10 = 1 then 'conversation-' || n % 9000 / 10 end, 'stop', (60000 * power(r, 40))::int, 200, '{}', 1
      from (select n, random() as r, random() as q, $3::bigint + n::bigint * $4::bigint / $5::bigint as ms
            from generate_series($6::int, $7::int) n) s`,
      [orgId, tokens, from, DAYS * DAY_MS - 60_000, ROWS, first, Math.min(first + step, ROWS) - 1],
    );
  }
}

function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
