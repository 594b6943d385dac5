import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { call, type Result } from '../../test/support/sse.js';
import { type Seen, startUpstream, type Upstream } from '../../test/support/upstream.js';
import { type Customer, createProduct, type Product } from '../product.js';
import { randomFrom } from '../random.js';
import { type Case, MULTIPLIER, makeCase, oracleConfig } from './cases.js';
import { parse, record } from './count.js';
import { judge, type UpstreamLog, type Verdict } from './judge.js';

export interface OracleOptions {
  readonly seed: number;
  readonly runs: number;
  /** Requests at once. */
  readonly atOnce?: number;
  readonly onProgress?: (done: number, wrong: number) => void;
}

export interface Wrong {
  readonly tag: string;
  readonly ending: string;
  readonly about: string;
  readonly expected: string;
  readonly found: string;
}

export interface OracleReport {
  readonly seed: number;
  readonly runs: number;
  readonly endings: ReadonlyMap<string, number>;
  readonly charged: number;
  readonly wrong: readonly Wrong[];
  readonly booksAreClean: boolean;
}

interface Done {
  readonly one: Case;
  readonly verdict: Verdict;
  readonly charged: string | undefined;
}

/** Sends seeded requests to the real server, computes what each must cost from outside, and compares with its books. */
export async function runOracle(options: OracleOptions): Promise<OracleReport> {
  const upstream = await startUpstream();
  const scripts = new Map<string, Case>();
  const attempts = new Map<string, Seen[]>();
  upstream.always((seen) => {
    const tag = String(seen.json['user']);
    const before = attempts.get(tag) ?? [];
    attempts.set(tag, [...before, seen]);
    const answers = scripts.get(tag)?.ending.answers ?? [];
    return answers[Math.min(before.length, answers.length - 1)] ?? { steps: [], status: 404, body: '{}' };
  });
  const product = await createProduct({ config: oracleConfig(upstream.url) });
  try {
    await product.start();
    const customer = await product.customer(100_000_000);
    const random = randomFrom(options.seed);
    const cases = Array.from({ length: options.runs }, (_, number) => makeCase(random, number));
    for (const one of cases) scripts.set(one.tag, one);
    const done: Done[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let one = cases[next++]; one; one = cases[next++]) {
        done.push(await runCase({ product, customer, upstream, one, attempts }));
        attempts.delete(one.tag);
        if (done.length % 100 === 0) options.onProgress?.(done.length, 0);
      }
    };
    await Promise.all(Array.from({ length: options.atOnce ?? 12 }, worker));
    return await compare(options, product, customer, done);
  } finally {
    await product.remove();
    await upstream.stop();
  }
}

interface Running {
  readonly product: Product;
  readonly customer: Customer;
  readonly upstream: Upstream;
  readonly one: Case;
  readonly attempts: ReadonlyMap<string, Seen[]>;
}

async function runCase({ product, customer, upstream, one, attempts }: Running): Promise<Done> {
  const exchange = call(`${product.url}${one.path}`, {
    method: 'POST',
    token: customer.token,
    headers: { 'Content-Type': 'application/json', 'X-Request-Id': one.tag },
    body: one.body,
  });
  let result: Result | undefined;
  const { leavesAt, after } = one.ending;
  if (leavesAt) {
    await upstream.reached(leavesAt);
    if (after) await exchange.until(after);
    exchange.hangUp();
    // A plain call runs on. Whether the gateway has noticed by now changes the word in the row, never the charge.
    if (!one.stream) setTimeout(() => upstream.open(leavesAt), 30);
  } else result = await exchange.end();
  const last = await ended(attempts, one.tag);
  const verdict = judge({
    endpoint: one.endpoint,
    stream: one.stream,
    request: one.body,
    choices: one.choices,
    price: one.price,
    multiplier: MULTIPLIER,
    answer: last ? logOf(one, last, attempts.get(one.tag)?.length ?? 1) : null,
    clientLeft: leavesAt !== undefined,
  });
  return { one, verdict, charged: result?.headers.get('x-credits-charged') };
}

/** The last attempt, when the upstream has finished with it. */
async function ended(attempts: ReadonlyMap<string, Seen[]>, tag: string): Promise<Seen | undefined> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const last = attempts.get(tag)?.at(-1);
    if (!last || last.endedAtMs !== null || Date.now() > deadline) return last;
    await new Promise((go) => setTimeout(go, 5));
  }
}

function logOf(one: Case, seen: Seen, attempt: number): UpstreamLog {
  const answer = one.ending.answers[Math.min(attempt, one.ending.answers.length) - 1];
  const type = answer?.headers?.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  const isEvents = type === undefined ? one.stream : type.startsWith('text/event-stream');
  const { delivered, ending } = seen;
  // Cut exactly behind the last byte its Content-Length announced, an answer is whole all the same.
  const isWhole = ending === 'complete' || (!isEvents && record(parse(delivered.toString('utf8'))) !== undefined);
  const end = isWhole ? 'clean' : ending === 'aborted' && one.ending.leavesAt !== undefined ? 'left' : 'broken';
  return { status: answer?.status ?? 200, isEvents, delivered: decoded(delivered, answer?.wire?.encoding), end };
}

function decoded(bytes: Buffer, encoding: string | undefined): Buffer {
  if (encoding === 'gzip') return gunzipSync(bytes);
  return encoding === 'br' ? brotliDecompressSync(bytes) : bytes;
}

const leftPlain = (one: Case): boolean => !one.stream && one.ending.leavesAt !== undefined;

interface Row {
  readonly client_request_id: string | null;
  readonly status: string;
  readonly charged: { readonly credits: string; readonly micro: number };
}

async function compare(options: OracleOptions, product: Product, customer: Customer, done: readonly Done[]): Promise<OracleReport> {
  const rows = await settledRows(product, customer.orgId, done.length);
  const byTag = new Map<string, Row[]>();
  for (const row of rows) byTag.set(row.client_request_id ?? '', [...(byTag.get(row.client_request_id ?? '') ?? []), row]);
  const wrong: Wrong[] = [];
  const endings = new Map<string, number>();
  for (const { one, verdict, charged } of done) {
    const name = `${one.endpoint} ${one.stream ? 'stream' : 'plain'} ${one.ending.name}`;
    endings.set(name, (endings.get(name) ?? 0) + 1);
    const found = byTag.get(one.tag) ?? [];
    const [row] = found;
    const say = (about: string, expected: unknown, is: unknown) =>
      void (expected === is || wrong.push({ tag: one.tag, ending: name, about, expected: String(expected), found: String(is) }));
    say('rows', 1, found.length);
    say('charge', verdict.cost, row?.charged.micro);
    if (!(leftPlain(one) && row?.status === 'complete')) say('status', verdict.status, row?.status);
    if (charged !== undefined) say('x-credits-charged', Number(row?.charged.credits), Number(charged));
  }
  const report = await product.api('GET', '/api/v1/admin/reconciliation');
  const sum = rows.reduce((total, row) => total + row.charged.micro, 0);
  const balance = (await product.api('GET', `/api/v1/orgs/${customer.orgId}/balance`)).body as Record<string, { micro: number }>;
  const spent = 100_000_000_000_000 - Number(balance['available']?.micro);
  if (spent !== sum) wrong.push({ tag: '-', ending: '-', about: 'balance', expected: String(sum), found: String(spent) });
  return {
    seed: options.seed,
    runs: done.length,
    endings,
    charged: sum,
    wrong,
    booksAreClean: report.status === 200 && report.body['clean'] === true,
  };
}

/** All rows, once nothing is set aside and everything is booked. */
async function settledRows(product: Product, orgId: string, atLeast: number): Promise<Row[]> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { body } = await product.api('GET', `/api/v1/orgs/${orgId}/balance`);
    const micro = (name: string) => (body[name] as { micro: number } | undefined)?.micro;
    const isQuiet = micro('in_flight') === 0 && micro('pending') === 0;
    const rows = isQuiet ? await allRows(product, orgId) : [];
    if (rows.length >= atLeast || Date.now() > deadline) return rows;
    await new Promise((go) => setTimeout(go, 100));
  }
}

async function allRows(product: Product, orgId: string): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor: string | null = null;
  do {
    const query: string = `limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;
    const { body } = await product.api('GET', `/api/v1/orgs/${orgId}/logs?${query}`);
    rows.push(...((body['data'] as Row[] | undefined) ?? []));
    cursor = (body['next_cursor'] as string | null | undefined) ?? null;
  } while (cursor !== null);
  return rows;
}
