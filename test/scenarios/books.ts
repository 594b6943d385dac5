import { afterAll, expect } from 'vitest';
import { createTokenCounter, type TokenCounter, type TokenJob } from '../../src/pricing/tokens.js';
import type { Farebox } from '../support/server.js';
import { type CallOptions, call, type Result } from '../support/sse.js';
import { type Answer, says, type Upstream } from '../support/upstream.js';

/** What a customer and the operator can see of one request and of the wallet, and what a test expects them to see. */
export interface Row {
  readonly request_id: string;
  readonly model: string;
  readonly status: string;
  readonly stream: boolean;
  readonly debt: boolean;
  readonly source: string;
  readonly usage: { readonly input: number; readonly cached_input: number; readonly output: number; readonly reasoning: number };
  readonly charged: { readonly micro: number };
  readonly held: { readonly micro: number };
  readonly price_version: string;
  readonly breakdown: { readonly lines: { meter: string; quantity: number; rate: string }[]; readonly times: string };
  readonly served_model: string;
  readonly upstream: string;
  readonly http_status: number;
  readonly attempts: number;
  readonly client_request_id: string | null;
  readonly flags: readonly string[];
}

const PATIENCE_MS = 20_000;

/** Looks again until there is an answer. Only patience is bounded here; no test is decided by how long it took. */
export async function eventually<Found>(what: string, look: () => Promise<Found | undefined>, patienceMs = PATIENCE_MS): Promise<Found> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`this never happened: ${what}`);
    await new Promise((go) => setTimeout(go, 25));
  }
}

export function rowOf(farebox: Farebox, orgId: string, requestId: string): Promise<Row> {
  return eventually(`the row of ${requestId}`, async () => {
    const answer = await farebox.api('GET', `/api/v1/orgs/${orgId}/logs/${requestId}`);
    return answer.status === 200 ? (answer.body as unknown as Row) : undefined;
  });
}

export interface Wallet {
  readonly available: number;
  readonly inFlight: number;
  readonly pending: number;
  readonly settled: number;
}

export async function walletOf(farebox: Farebox, orgId: string): Promise<Wallet> {
  const body = (await farebox.balance(orgId)) as Record<string, { micro: number }>;
  const micro = (name: string): number => Number(body[name]?.micro ?? Number.NaN);
  return { available: micro('available'), inFlight: micro('in_flight'), pending: micro('pending'), settled: micro('settled') };
}

/** The wallet once nothing is set aside and everything is booked. */
export function quiet(farebox: Farebox, orgId: string, patienceMs?: number): Promise<Wallet> {
  return eventually(
    `nothing in flight for ${orgId}`,
    async () => {
      const wallet = await walletOf(farebox, orgId);
      return wallet.inFlight === 0 && wallet.pending === 0 ? wallet : undefined;
    },
    patienceMs,
  );
}

/** After everything: no hold is open, and every recomputation agrees with what is stored. */
export async function expectCleanBooks(farebox: Farebox, orgIds: readonly string[]): Promise<void> {
  for (const orgId of orgIds) {
    const wallet = await quiet(farebox, orgId);
    expect(wallet.available).toBe(wallet.settled);
  }
  const report = await farebox.reconcile();
  expect(report).toMatchObject({ clean: true, findings: [] });
}

/** Price of the default `fake-model`: ratio 1 at base 200 is 200 µcr for a token in, 4x out, 0.5x cached. */
export const fakeCost = (input: number, output: number, cached = 0): number => (input - cached) * 200 + cached * 100 + output * 800;

/** The published counting rule, from the bytes of the request and the bytes that were delivered. */
export async function countedCost(job: Pick<TokenJob, 'request' | 'response' | 'stream'> & Partial<TokenJob>): Promise<number> {
  const { input, output } = await counted(job);
  return fakeCost(input, output);
}

let counter: TokenCounter | undefined;
afterAll(() => counter?.close());

export function counted(job: Pick<TokenJob, 'request' | 'response' | 'stream'> & Partial<TokenJob>) {
  counter ??= createTokenCounter({ deadlineMs: 60_000 });
  return counter.count({ endpoint: 'chat', model: 'fake-model', ...job });
}

/** Queues answers for the requests of one test: what a failed test did not use must not be heard by the next one. */
export function scriptOf(upstream: Upstream): (...answers: Answer[]) => void {
  const queue: Answer[] = [];
  upstream.always(() => queue.shift() ?? says('Hello'));
  return (...answers) => void queue.push(...answers);
}

export interface Client {
  readonly farebox: Farebox;
  readonly orgId: string;
  readonly token: string;
}

export const post = (client: Client, path: string, body: string | Buffer, options: CallOptions = {}) =>
  call(`${client.farebox.url}${path}`, {
    method: 'POST',
    token: client.token,
    ...options,
    headers: { 'Content-Type': 'application/json', ...options.headers },
    body,
  });

export interface Exchanged {
  readonly result: Result;
  readonly row: Row;
  readonly sent: Buffer;
}

/** One whole exchange with the row it left. */
export async function exchange(
  client: Client,
  body: Record<string, unknown>,
  options: CallOptions & { path?: string } = {},
): Promise<Exchanged> {
  const { path = '/v1/chat/completions', ...more } = options;
  const sent = Buffer.from(JSON.stringify(body));
  const result = await post(client, path, sent, more).end();
  const row = await rowOf(client.farebox, client.orgId, requestIdOf(result));
  return { result, row, sent };
}

export function requestIdOf(result: Pick<Result, 'headers'>): string {
  const id = result.headers.get('x-request-id') ?? '';
  expect(id).toMatch(/^req_[0-9a-f]{32}$/);
  return id;
}

export function errorOf(result: Pick<Result, 'json'>): {
  message: string;
  type: string;
  code: string;
  param: string | null;
  metadata: Record<string, unknown>;
} {
  const error = result.json?.['error'];
  expect(error).toBeTypeOf('object');
  return error as ReturnType<typeof errorOf>;
}
