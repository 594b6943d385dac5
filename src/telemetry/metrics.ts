import cluster, { type Worker } from 'node:cluster';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { createRecent } from './recent.js';
import { Distribution, Tally } from './tally.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const MICRO_TO_CREDITS = 1e-6; // metrics are for looking at, not for money

export type Metrics = ReturnType<typeof createMetrics>;

/** Every number this process publishes. Labels are closed sets or operator-chosen names, never text from a request. */
export function createMetrics(options: { readonly defaults: boolean } = { defaults: true }) {
  const registry = new Registry();
  // Ten looks a second at how late the loop is: the default of a hundred is most of what an idle gateway does.
  if (options.defaults) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []) => new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[] = []) => new Gauge({ name, help, labelNames, registers });
  const tally = (name: string, help: string, labelNames: string[] = []) => new Tally(counter(name, help, labelNames));
  const seconds = (name: string, help: string, labelNames: string[] = []) =>
    new Distribution(new Histogram({ name, help, labelNames, buckets: SECONDS, registers }), { name, help, bounds: SECONDS });
  return {
    registry,
    requests: tally('farebox_requests_total', 'Requests on /v1 by endpoint, status and how they ended', ['endpoint', 'status', 'ending']),
    refusals: counter('farebox_refusals_total', 'Requests refused before they reached an upstream, by code', ['code']),
    refusalsUnlisted: counter('farebox_refusals_unlisted_total', 'Refused requests of known tokens without a row of their own in the logs'),
    latency: seconds('farebox_request_seconds', 'From the last byte of the request to the last byte of the answer', ['endpoint']),
    firstToken: seconds('farebox_first_token_seconds', 'From the last byte of the request to the first byte of the answer', ['endpoint']),
    overhead: seconds('farebox_overhead_seconds', 'Time of ours before the request went upstream', ['endpoint']),
    holds: tally('farebox_holds_total', 'Holds asked for, by what the hot store answered', ['outcome']),
    holdTime: seconds('farebox_hold_seconds', 'Time until the hot store answered a hold'),
    creditsHeld: gauge('farebox_credits_held', 'Credits set aside for requests in progress'),
    charged: tally('farebox_credits_charged_total', 'Credits charged'),
    operatorLoss: counter('farebox_operator_loss_credits_total', 'Credits used beyond a hold in strict mode, carried by the operator'),
    debt: counter('farebox_debt_charges_total', 'Charges beyond their hold in normal mode'),
    tokens: tally('farebox_tokens_total', 'Tokens charged by direction', ['direction']),
    openRequests: gauge('farebox_open_requests', 'Requests in progress'),
    unconfirmed: gauge('farebox_unconfirmed_settlements', 'Settlements of this process that Postgres does not have yet'),
    storeErrors: counter('farebox_store_unavailable_total', 'Hot store commands without an answer, by reason', ['reason']),
    upstreamRequests: tally('farebox_upstream_requests_total', 'Attempts by upstream and outcome', ['upstream', 'outcome']),
    /** The same of the last minutes, for people; not published. */
    recent: createRecent(),
    upstreamInFlight: gauge('farebox_upstream_in_flight', 'Requests running at an upstream', ['upstream']),
    estimatedUsage: counter('farebox_estimated_usage_total', 'Charges counted by us because the upstream did not, by reason', ['reason']),
    drainLag: gauge('farebox_drain_lag_seconds', 'Age of the oldest settled charge that is not in Postgres yet'),
    drainWaiting: gauge('farebox_drain_waiting', 'Settled charges that are not in Postgres yet'),
    drained: counter('farebox_drained_total', 'Charges booked in Postgres'),
    poison: counter('farebox_poison_rows_total', 'Charges set aside because they could not be booked'),
    sweptHolds: counter('farebox_swept_holds_total', 'Holds ended by the sweep because their owner vanished'),
    heals: counter('farebox_heals_total', 'Reloads of the hot store from Postgres'),
    // Every process reads the same file: their sum would be no 1.
    configErrors: new Gauge({
      name: 'farebox_config_invalid',
      help: '1 while the configuration file on disk is not the one in force',
      aggregator: 'max',
      registers,
    }),
    priceVersion: gauge('farebox_price_version_info', 'The price version in force', ['version']),
    credits: (micro: number) => micro * MICRO_TO_CREDITS,
  };
}

/** Text of this process alone. */
export async function ownText(metrics: Metrics): Promise<MetricsText> {
  return { contentType: metrics.registry.contentType, text: await metrics.registry.metrics() };
}

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

type Numbers = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;
type Question = { readonly farebox: 'numbers?'; readonly id: number };
type Answer = { readonly farebox: 'numbers'; readonly id: number; readonly numbers: Numbers };

/** In a worker of a cluster: lets the primary collect this process's numbers. */
export function shareWithPrimary(metrics: Metrics): void {
  process.on('message', (message: Partial<Question> | null) => {
    if (message?.farebox !== 'numbers?' || message.id === undefined) return;
    const { id } = message;
    void metrics.registry.getMetricsAsJSON().then((numbers) => process.send?.({ farebox: 'numbers', id, numbers } satisfies Answer));
  });
}

/** A process that is just starting or ending does not hold the others up for longer. */
const ANSWERS_MS = 1_000;

/** In the primary of a cluster: the sum over all its workers that answer. */
export function createAggregate(): () => Promise<MetricsText> {
  let questions = 0;
  return async () => {
    const id = ++questions;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected() === true);
    const numbers = await Promise.all(workers.map((worker) => (worker ? numbersOf(worker, id) : [])));
    const sum = AggregatorRegistry.aggregate(numbers.filter((one) => one.length > 0));
    return { contentType: sum.contentType, text: await sum.metrics() };
  };
}

function numbersOf(worker: Worker, id: number): Promise<Numbers> {
  return new Promise((resolve) => {
    const done = (numbers: Numbers): void => {
      clearTimeout(late);
      worker.off('message', listen);
      resolve(numbers);
    };
    const listen = (message: Partial<Answer> | null): void => {
      if (message?.farebox === 'numbers' && message.id === id && message.numbers) done(message.numbers);
    };
    const late = setTimeout(() => done([]), ANSWERS_MS);
    worker.on('message', listen);
    worker.send({ farebox: 'numbers?', id } satisfies Question, (error: Error | null) => error && done([]));
  });
}
