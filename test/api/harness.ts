import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject } from 'vitest';
import { createPeople, type People, type PeopleDeps } from '../../src/accounts/people/people.js';
import type { Sessions, SignedIn } from '../../src/accounts/people/session.js';
import { apiRoutes, createApi } from '../../src/api/app.js';
import type { ApiDeps, LedgerPort } from '../../src/api/deps.js';
import { createLiveHub } from '../../src/api/live.js';
import type { Route } from '../../src/api/route.js';
import { ProblemSchema } from '../../src/api/schemas.js';
import type { ServerPort } from '../../src/api/server.js';
import { createLedgerPort, createProjections } from '../../src/books.js';
import { readDraft } from '../../src/config/draft.js';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { type Database, openDatabase } from '../../src/db/client.js';
import { systemClock } from '../../src/domain/clock.js';
import { amountOut, MICRO_PER_CREDIT, microCredits } from '../../src/domain/credits.js';
import type { OrgId } from '../../src/domain/ids.js';
import type { MeterPrice, ModelPrice } from '../../src/domain/prices.js';
import { createMailer } from '../../src/mail/mailer.js';
import { buildBook } from '../../src/pricing/book.js';
import { createTokenCounter } from '../../src/pricing/tokens.js';
import { readLiveState } from '../../src/usage/liveState.js';
import { readTick } from '../../src/usage/tick.js';
import { freshDatabase } from '../support/postgres.js';
import { type ApiDocument, createDocumentCheck } from './document.js';

export const OPERATOR_KEY = 'ok-fb-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZab';
const PEPPER = 'a pepper for tests that is long enough to be one';

/** Stands in for the sessions of people: the cookie says outright who it is. */
const signedInByHeader: Sessions = {
  read: async (headers) => {
    const cookie = /^test-session=(.+)$/.exec(headers.get('cookie') ?? '')?.[1];
    if (cookie === undefined) return null;
    const said = JSON.parse(decodeURIComponent(cookie)) as Omit<SignedIn, 'authenticatedAt'> & { authenticatedAt: string };
    return { ...said, authenticatedAt: new Date(said.authenticatedAt) };
  },
};

/** The headers of somebody who is signed in and whose browser is on a page of this server. */
export function signedIn(personId: string, more: Partial<SignedIn> = {}): Record<string, string> {
  const session: SignedIn = {
    ...{ personId, email: `${personId}@example.test`, name: 'Somebody', sessionId: `session of ${personId}` },
    ...{ authenticatedAt: new Date(), twoFactor: false, operatorRole: null, ...more },
  };
  return { authorization: '', cookie: `test-session=${encodeURIComponent(JSON.stringify(session))}`, origin: 'http://farebox.test' };
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, never> & { readonly [name: string]: unknown };
  readonly text: string;
}

export interface Rig {
  readonly db: Database;
  readonly store: CreditStore;
  readonly deps: ApiDeps;
  readonly app: ReturnType<typeof createApi>;
  /** With the operator key unless `authorization` says otherwise; every answer is held against the document. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
  org(name?: string): Promise<string>;
  token(orgId: string, options?: Record<string, unknown>): Promise<{ id: string; secret: string }>;
}

export interface ApiOptions {
  readonly reconcile?: LedgerPort['reconcile'];
  readonly store?: (real: CreditStore) => CreditStore;
  /** What is sold outside /v1. */
  readonly meters?: readonly MeterPrice[];
  /** Besides the demo. */
  readonly models?: readonly ModelPrice[];
  /** What is different about the server around the API. */
  readonly server?: Partial<ServerPort>;
  /** Sessions are those of real cookies, of people who signed in; says what is different about them. */
  readonly people?: Partial<PeopleDeps>;
}

/** A real Postgres, a real hot store and the whole API, for the tests of one file. */
export function useApi(options: ApiOptions = {}): Rig {
  const parts: { rig?: Rig; end?: () => Promise<void> } = {};
  beforeAll(async () => {
    const database = await freshDatabase(inject('databaseUrl'));
    const db = openDatabase({ url: database.url, max: 4 });
    const store = await openStore(options.store);
    parts.rig = rigOf(db, store, options);
    parts.end = async () => {
      await parts.rig?.deps.counter.close();
      await db.close();
      await database.drop();
    };
  });
  afterAll(async () => parts.end?.());
  return new Proxy({} as Rig, { get: (_, name) => Reflect.get(parts.rig ?? {}, name) });
}

/** A server without gateways, on which nothing has happened yet. */
const quietServer = (priceVersion: string): ServerPort => ({
  pulses: async () => ({ pulses: [], silent: 0 }),
  upstreams: () => [],
  config: () => ({ fromFile: false, loadedAtMs: Date.now(), priceVersion, bad: null }),
  hotStore: async () => ({ ms: 1, shards: [{ shard: '00', state: 'open' }] }),
  drain: async () => ({ lagSeconds: 0, waiting: 0 }),
  listeners: () => 0,
  roles: ['gateway', 'api', 'worker'],
});

export async function openStore(wrap: (real: CreditStore) => CreditStore = (real) => real): Promise<CreditStore> {
  const real = createEmbeddedStore();
  for (const shard of await real.shards()) {
    await real.transition(shard.shard, shard, 'filling');
    const filling = (await real.shards()).find((one) => one.shard === shard.shard);
    if (filling) await real.transition(shard.shard, filling, 'open');
  }
  return wrap(real);
}

/** People without a mail server, whose passwords are cheap to check. */
function peopleOf(db: Database, project: ApiDeps['project'], ledger: LedgerPort, more: Partial<PeopleDeps>): People {
  return createPeople({
    db,
    project,
    clock: systemClock,
    pepper: PEPPER,
    publicUrl: 'http://farebox.test',
    mailer: createMailer({ settings: null, product: 'Farebox', log: pino({ level: 'silent' }) }),
    signUp: { enabled: true, trialCredits: 100, trialDays: 30, allowedDomains: null },
    providers: [],
    passwordCost: { log2n: 10, r: 8, p: 1 },
    grantTrial: async ({ orgId, key, credits, expiresAt }) => {
      const amount = microCredits(credits * MICRO_PER_CREDIT);
      await ledger.grant({
        orgId: orgId as OrgId,
        key,
        amount,
        expiresAt,
        kind: 'trial',
        category: 'promo',
        reason: 'trial',
        actor: 'system:sign-up',
      });
    },
    ...more,
  });
}

export function rigOf(db: Database, store: CreditStore, options: ApiOptions): Rig {
  const book = buildBook({
    credits: { base: '200', value: { amount: '0.01', currency: 'USD' } },
    groups: [{ name: 'vip', times: '0.8' }],
    models: options.models ?? [],
    meters: options.meters ?? [],
    unpriced: { kind: 'reject' },
    defaults: false,
    demo: true,
    partBounds: { image: null, audio: null, file: null },
  });
  const ledger = createLedgerPort(db, store);
  const live = createLiveHub({
    wallet: ledger.wallet,
    state: (orgId) => readLiveState(db, orgId, Date.now()),
    tick: (orgId) => readTick(db, orgId, Date.now()),
    tickMs: 100,
    amount: (micro) => amountOut(micro, null),
    nowMs: systemClock.nowMs,
    pollMs: 100,
  });
  const project = createProjections(db, store);
  const people = peopleOf(db, project, ledger, options.people ?? {});
  const deps: ApiDeps = {
    db,
    clock: systemClock,
    pepper: PEPPER,
    operatorKey: OPERATOR_KEY,
    operatorKeyIps: null,
    publicUrl: null,
    trustedProxies: [],
    sessions: options.people ? people.sessions : signedInByHeader,
    people,
    credits: { name: 'credit', value: { amount: '0.01', currency: 'USD' } },
    compat: { creditsScope: 'token' },
    pricing: { public: false },
    prices: () => book,
    server: { ...quietServer(book.version), ...options.server },
    readDraft,
    counter: createTokenCounter(),
    log: pino({ level: 'silent' }),
    project,
    live,
    ledger: { ...ledger, ...(options.reconcile ? { reconcile: options.reconcile } : {}) },
  };
  const app = createApi(deps);
  const routes = apiRoutes(deps);
  let check: Promise<ReturnType<typeof createDocumentCheck>> | undefined;
  const document = async () => createDocumentCheck((await (await app.request('/api/v1/openapi.json')).json()) as ApiDocument);
  const call: Rig['call'] = async (method, path, body, headers = {}) => {
    const sent = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
    const response = await app.request(`http://farebox.test${path}`, {
      method,
      headers: {
        authorization: `Bearer ${OPERATOR_KEY}`,
        ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(sent === undefined ? {} : { body: sent }),
    });
    const text = await response.text();
    const parsed = text === '' ? {} : (JSON.parse(text) as Reply['body']);
    check ??= document();
    documented(routes, { method, path, response, body: parsed, sent: typeof body === 'string' ? undefined : body, check: await check });
    return { status: response.status, headers: response.headers, body: parsed, text };
  };
  return { db, store, deps, app, call, ...shortcuts(call) };
}

function shortcuts(call: Rig['call']): Pick<Rig, 'org' | 'token'> {
  return {
    org: async (name = 'Acme') => String((await call('POST', '/api/v1/admin/orgs', { name })).body['id']),
    token: async (orgId, options = {}) => {
      const made = await call('POST', `/api/v1/orgs/${orgId}/tokens`, { name: 'test', ...options });
      expect(made.status, made.text).toBe(201);
      return { id: String(made.body['id']), secret: String(made.body['secret']) };
    },
  };
}

interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly response: Response;
  readonly body: unknown;
  readonly sent: unknown;
  readonly check: ReturnType<typeof createDocumentCheck>;
}

// W6, W7
/** Every answer has the shape its route documents, and the headers that all answers carry. */
function documented(routes: readonly Route[], { method, path, response, body, sent, check }: Exchange): void {
  expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  const kept = path.startsWith('/api/v1/pricing/public') && response.status < 400;
  expect(response.headers.get('cache-control')).toBe(kept ? 'public, max-age=60' : 'no-store');
  expect(response.headers.get('referrer-policy')).toBe('no-referrer');
  expect(response.headers.get('content-security-policy')).toMatch(/default-src '(?:none|self)'.*frame-ancestors 'none'/);
  if (response.status >= 400) {
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    const problem = ProblemSchema.parse(body);
    expect(problem.status).toBe(response.status);
    expect(problem.request_id).toBe(response.headers.get('x-request-id'));
  }
  const route = routes.find((one) => one.method === method.toLowerCase() && matches(one.path, path));
  if (!route) return;
  const { status } = response;
  check({ method, path: route.path, sent, status, type: response.headers.get('content-type') ?? '', body });
  if (status >= 400) return;
  const answer = route.answers[response.status];
  expect(answer, `${method} ${route.path} does not document ${response.status}`).toBeDefined();
  answer?.schema.parse(body);
}

const matches = (pattern: string, path: string): boolean =>
  new RegExp(`^${pattern.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path.split('?')[0] ?? '');

export const pointers = (reply: Reply): string[] =>
  ((reply.body['errors'] ?? []) as { pointer: string }[]).map(({ pointer }) => pointer).sort();
