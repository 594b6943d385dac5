import type { RequestListener } from 'node:http';
import type { AccountsContext } from './accounts/context.js';
import { createOrg } from './accounts/createOrg.js';
import { createToken } from './accounts/createToken.js';
import { tidyPeople } from './accounts/people/administer.js';
import { hasOperator, openSetup } from './accounts/people/operators.js';
import { createPeople, type People } from './accounts/people/people.js';
import { apiListener, createApi } from './api/app.js';
import type { LedgerPort } from './api/deps.js';
import { createLiveHub, type LiveHub } from './api/live.js';
import type { FirstCustomer } from './banner.js';
import { createLedgerPort, createProjections } from './books.js';
import { readDraft } from './config/draft.js';
import { forgetSetup, keepSetup } from './config/secrets.js';
import type { CreditStore } from './credits/store.js';
import type { Database } from './db/client.js';
import { systemClock } from './domain/clock.js';
import { amountOut, formatCredits, MICRO_PER_CREDIT, microCredits } from './domain/credits.js';
import type { OrgId } from './domain/ids.js';
import type { RefusedRequest } from './domain/refused.js';
import type { Settings } from './domain/settings.js';
import { hostFor } from './front.js';
import { createJobs, type Jobs } from './jobs.js';
import { postGrant } from './ledger/post.js';
import { storePriceVersion } from './ledger/priceVersions.js';
import { createRefusedDesk, type RefusedDesk } from './ledger/refused.js';
import { createMailer } from './mail/mailer.js';
import type { PriceBook } from './pricing/book.js';
import { createTokenCounter } from './pricing/tokens.js';
import { createServerPort, type InForce } from './serverPort.js';
import type { Log } from './telemetry/log.js';
import type { Metrics } from './telemetry/metrics.js';
import type { Pulses } from './telemetry/pulse.js';
import { readLiveState } from './usage/liveState.js';
import { readTick } from './usage/tick.js';

/** Everything that reaches Postgres: the management API and the jobs. */
export interface Office {
  readonly listener: RequestListener;
  readonly jobs: Jobs;
  /** On a database without any organization: makes the first one, with a token and trial credits. */
  welcome(): Promise<Welcome>;
  /** Called with every price book that comes into force. */
  pricesInForce(book: PriceBook): Promise<void>;
  /** Requests that a gateway refused, for the logs; false = not now. */
  refused(batch: readonly RefusedRequest[]): boolean;
}

export type Welcome = ({ readonly first: FirstCustomer } | { readonly organizations: number }) & {
  /** What lets the first operator make an account; null once there is one. */
  readonly setup: string | null;
};

export interface OfficeDeps {
  readonly settings: Settings;
  readonly secret: string;
  readonly operatorKey: string;
  readonly inForce: InForce;
  readonly pulses: () => Promise<Pulses>;
  readonly db: Database;
  readonly store: CreditStore;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Names this process in leases. */
  readonly owner: string;
}

export function createOffice(deps: OfficeDeps): Office {
  const { db, store, settings, log } = deps;
  const project = createProjections(db, store);
  const ledger = createLedgerPort(db, store);
  const live = createLiveHub({
    wallet: ledger.wallet,
    state: (orgId) => readLiveState(db, orgId, systemClock.nowMs()),
    tick: (orgId) => readTick(db, orgId, systemClock.nowMs()),
    amount: (micro) => amountOut(micro, settings.credits.value),
    nowMs: systemClock.nowMs,
  });
  const people = openPeople(deps, project, ledger);
  const api = createApi({
    db,
    project,
    clock: systemClock,
    pepper: deps.secret,
    operatorKey: deps.operatorKey,
    operatorKeyIps: settings.operatorKeyIps,
    publicUrl: settings.publicUrl,
    trustedProxies: settings.trustedProxies,
    sessions: people.sessions,
    people,
    credits: settings.credits,
    compat: settings.compat,
    pricing: settings.pricing,
    ledger,
    live,
    prices: () => deps.inForce.book,
    server: createServerPort({ ...deps, listeners: () => live.watchers }),
    readDraft,
    counter: createTokenCounter(),
    log,
  });
  const refused = openRefused(deps, live);
  const jobs = createJobs({ ...deps, onBooked: live.booked, tidy: () => tidyPeople(people) });
  return {
    listener: apiListener(api),
    jobs: { start: jobs.start, stop: () => jobs.stop().then(refused.idle) },
    refused: refused.take,
    welcome: async () => ({ ...(await welcome(deps, project)), setup: await setup(deps, people) }),
    pricesInForce: (book) => storePriceVersion(db, book),
  };
}

function openRefused({ db, inForce, metrics, log }: OfficeDeps, live: LiveHub): RefusedDesk {
  return createRefusedDesk({
    db,
    priceVersion: () => inForce.book.version,
    onWritten: (rows) => live.booked(rows.map((row) => ({ orgId: row.org_id, event: JSON.stringify({ ...row, ...REFUSED }) }))),
    onLost: (count, cause) => {
      metrics.refusalsUnlisted.inc(count);
      log.warn({ err: cause, count }, 'refused requests are missing in the logs');
    },
  });
}

const REFUSED = { kind: 'final', status: 'rejected', debt: false, cost: 0 };

function openPeople({ db, settings, secret, log }: OfficeDeps, project: AccountsContext['project'], ledger: LedgerPort): People {
  const { enabled, ...signUp } = settings.signUp;
  return createPeople({
    db,
    project,
    clock: systemClock,
    pepper: secret,
    publicUrl: urlOf(settings),
    mailer: createMailer({ settings: settings.mail, product: 'Farebox', log }),
    // By itself open only where nobody else can reach it: on the internet trial credits are somebody's money.
    signUp: { ...signUp, enabled: enabled === 'auto' ? isOnlyHere(settings) : enabled },
    providers: settings.providers,
    onFirstOperator: () => forgetSetup(settings.dataDir),
    grantTrial: async ({ orgId, key, credits, expiresAt }) => {
      await ledger.grant({
        orgId: orgId as OrgId,
        key,
        expiresAt,
        amount: microCredits(credits * MICRO_PER_CREDIT),
        kind: 'trial',
        category: 'promo',
        reason: 'trial credits of a new person',
        actor: 'system:sign-up',
      });
    },
  });
}

const isOnlyHere = ({ host, publicUrl }: Settings): boolean => publicUrl === null && /^(?:localhost|127(?:\.\d+){3}|\[?::1\]?)$/.test(host);

const urlOf = ({ publicUrl, host, port }: Settings): string => publicUrl ?? `http://${hostFor(host)}:${port}`;

/** Printed at every start and kept beside the operator key until somebody has used it. */
async function setup({ settings }: OfficeDeps, people: People): Promise<string | null> {
  if (await hasOperator(people)) {
    forgetSetup(settings.dataDir);
    return null;
  }
  const token = keepSetup(settings.dataDir);
  await openSetup(people, token);
  return token;
}

const FIRST_NAME = 'My organization';

async function welcome(
  deps: OfficeDeps,
  project: AccountsContext['project'],
): Promise<{ readonly first: FirstCustomer } | { readonly organizations: number }> {
  const { db, settings } = deps;
  const counted = await db.one<{ count: number }>('select count(*)::int as count from organizations', [], { idempotent: true });
  if (counted && counted.count > 0) return { organizations: counted.count };
  const ctx: AccountsContext = { db, actor: { kind: 'system', part: 'first start' }, clock: systemClock, pepper: deps.secret, project };
  const made = await createOrg({ ctx, input: { name: FIRST_NAME } });
  if (made.kind !== 'created') throw new Error('the first organization could not be made');
  const trial = settings.trialCredits * MICRO_PER_CREDIT;
  const orgId = made.org.org_id as OrgId;
  if (trial > 0) {
    await postGrant(db, {
      orgId,
      key: `trial:${orgId}`,
      kind: 'trial',
      amount: trial,
      category: 'promo',
      source: 'promo',
      reason: 'trial credits of the first start',
      actor: 'system:first start',
    });
  }
  const token = await createToken({ ctx, orgId, input: { name: 'first token' } });
  if (token.kind !== 'created') throw new Error('the first token could not be made');
  return { first: { orgId, orgName: FIRST_NAME, secret: token.secret, trialCredits: formatCredits(trial) } };
}
