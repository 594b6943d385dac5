import type { BooksHealth } from '../ledger/health.js';
import type { Pulses } from '../telemetry/pulse.js';
import type { ConfigState, HotLook } from './server.js';

/** From the best to the worst. */
export const HEALTH_STATES = ['ok', 'warn', 'bad'] as const;
export type HealthState = (typeof HEALTH_STATES)[number];

export const CHECKS = [
  ...(['database', 'hot_store', 'drain', 'projections', 'set_aside', 'processes', 'journal'] as const),
  ...(['prices', 'config', 'providers', 'live_events', 'migrations'] as const),
] as const;

export interface Judgement {
  readonly name: (typeof CHECKS)[number];
  readonly state: HealthState;
  readonly sentence: string;
}

export interface Facts {
  readonly books: BooksHealth | null;
  readonly hot: HotLook | null;
  readonly drain: { readonly lagSeconds: number; readonly waiting: number };
  readonly found: Pulses;
  readonly config: ConfigState;
  readonly providers: readonly { readonly name: string; readonly state: 'idle' | HealthState }[];
  readonly listeners: number;
}

export const worstOf = (checks: readonly Judgement[]): HealthState =>
  checks.reduce<HealthState>((worst, { state }) => (rank(state) > rank(worst) ? state : worst), 'ok');

const rank = (state: HealthState): number => HEALTH_STATES.indexOf(state);

const SLOW_MS = 250;
/** The drain gathers for 50 ms; half a minute later somebody waits for a balance that is not right. */
const LAG_WARN_S = 10;
const LAG_BAD_S = 60;

type Said = readonly [HealthState, string];

/** Every part in one plain sentence; what is not well says what to do. */
export function judge(facts: Facts): readonly Judgement[] {
  const said: Readonly<Record<Judgement['name'], Said>> = {
    database: database(facts),
    hot_store: hotStore(facts),
    drain: drain(facts),
    projections: projections(facts),
    set_aside: setAside(facts),
    processes: processes(facts),
    journal: journal(facts),
    prices: prices(facts),
    config: config(facts),
    providers: providers(facts),
    live_events: ['ok', `${count(facts.listeners, 'stream')} of live events ${facts.listeners === 1 ? 'is' : 'are'} open.`],
    migrations: facts.books
      ? ['ok', `${count(facts.books.migrations.applied, 'migration')} applied, the last is ${facts.books.migrations.last ?? 'none'}.`]
      : UNKNOWN,
  };
  return CHECKS.map((name) => ({ name, state: said[name][0], sentence: said[name][1] }));
}

const UNKNOWN: Said = ['warn', 'Not known while Postgres does not answer.'];
const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

function database({ books }: Facts): Said {
  if (!books) return ['bad', 'Postgres does not answer. Requests go on; nothing is booked until it is back.'];
  const says = `Postgres ${books.version} answers in ${books.ms} ms.`;
  return books.ms > SLOW_MS ? ['warn', `${says} That is slow: look at its load.`] : ['ok', says];
}

function hotStore({ hot }: Facts): Said {
  if (!hot) return ['bad', 'The hot store does not answer. No request is admitted until it does.'];
  const shut = hot.shards.filter(({ state }) => state !== 'open').length;
  if (shut > 0) return ['bad', `${shut} of ${hot.shards.length} shards are not open: they are being loaded, or wait for Postgres.`];
  const says = `All ${hot.shards.length} shards are open; it answers in ${hot.ms} ms.`;
  return hot.ms > SLOW_MS ? ['warn', `${says} That is slow: look at its load and the network.`] : ['ok', says];
}

function drain({ drain: { lagSeconds, waiting } }: Facts): Said {
  const says = `${count(waiting, 'settled charge')} ${waiting === 1 ? 'waits' : 'wait'} to be booked, the oldest for ${Math.round(lagSeconds)} s.`;
  if (lagSeconds >= LAG_BAD_S) return ['bad', `${says} Look at Postgres and at the log.`];
  return lagSeconds >= LAG_WARN_S ? ['warn', says] : ['ok', waiting === 0 ? 'Everything that is settled is booked.' : says];
}

function projections({ books }: Facts): Said {
  if (!books) return UNKNOWN;
  const { organizations, balances, tokens, members } = books.untold;
  const sum = organizations + balances + tokens + members;
  if (sum === 0) return ['ok', 'The hot store knows of every change.'];
  return ['warn', `The hot store does not know of ${count(sum, 'change')} yet; it is told again every few seconds.`];
}

function setAside({ books }: Facts): Said {
  if (!books) return UNKNOWN;
  if (books.set_aside === 0) return ['ok', 'No charge was set aside.'];
  return ['bad', `${count(books.set_aside, 'charge')} could not be booked and ${books.set_aside === 1 ? 'waits' : 'wait'} for a person.`];
}

function processes({ found: { pulses, silent } }: Facts): Said {
  const fronts = pulses.flatMap(({ front }) => front ?? []);
  const unready = fronts.filter(({ ready }) => !ready).length;
  if (fronts.length === 0) return ['bad', 'No process of this machine serves requests, or none answers.'];
  if (unready > 0) return ['bad', `${unready} of the ${fronts.length} serving processes cannot take requests.`];
  if (silent > 0) return ['warn', `${silent} of the processes did not answer in time: starting, ending or stuck.`];
  const versions = new Set(pulses.map(({ version }) => version));
  if (versions.size > 1) return ['warn', `Processes of ${versions.size} versions are running: ${[...versions].join(', ')}.`];
  return ['ok', fronts.length === 1 ? 'The serving process is ready.' : `All ${fronts.length} serving processes are ready.`];
}

function journal({ found }: Facts): Said {
  const journals = found.pulses.flatMap(({ front }) => front?.journal ?? []);
  const full = journals.filter(({ writable }) => !writable).length;
  if (full > 0)
    return ['bad', `${full} of ${count(journals.length, 'journal')} cannot be written: that process admits nothing. Look at the disk.`];
  const waiting = journals.reduce((sum, { unconfirmed }) => sum + unconfirmed, 0);
  return [
    'ok',
    `${count(journals.length, 'journal')} can be written; ${count(waiting, 'settlement')} in ${journals.length === 1 ? 'it' : 'them'} not booked yet.`,
  ];
}

function prices({ found, config: { priceVersion } }: Facts): Said {
  const others = found.pulses.filter(({ front }) => front !== null && front.priceVersion !== priceVersion).length;
  if (others === 0) return ['ok', `Every process charges by ${priceVersion}.`];
  return ['warn', `${others} of the serving processes charge by other prices than ${priceVersion}; a change arrives within seconds.`];
}

function config({ config: { bad, fromFile } }: Facts): Said {
  if (bad) return ['warn', 'The file on disk has mistakes; the last good one is in force. Correct the file.'];
  return ['ok', fromFile ? 'The file on disk is in force.' : 'There is no configuration file; everything is as it comes.'];
}

function providers({ providers: all }: Facts): Said {
  const failing = all.filter(({ state }) => state === 'bad').map(({ name }) => name);
  const shaky = all.filter(({ state }) => state === 'warn').map(({ name }) => name);
  if (failing.length > 0) return ['bad', `Failing in the last minutes: ${failing.join(', ')}.`];
  if (shaky.length > 0) return ['warn', `Not always answering in the last minutes: ${shaky.join(', ')}.`];
  return ['ok', `No upstream of ${all.length} is failing.`];
}
