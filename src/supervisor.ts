import cluster, { type Worker } from 'node:cluster';
import { availableParallelism } from 'node:os';
import type { Role, Settings } from './domain/settings.js';
import { closeLostConnections } from './handoff.js';
import { createPulseRound } from './pulse.js';
import { createRefusedPost, type RefusedMessage } from './refused.js';
import { replaceOffice, replaceOneByOne } from './rolling.js';
import type { Log } from './telemetry/log.js';
import { createAggregate, type MetricsText } from './telemetry/metrics.js';

export type Part = 'gateway' | 'office';

/** Says which part of the product a child process is. */
export const PART_VARIABLE = 'FAREBOX_PART';
/** Which of the gateway processes it is. */
export const SLOT_VARIABLE = 'FAREBOX_GATEWAY';

export type ToPrimary = { readonly farebox: 'metrics?'; readonly id: number };
export type FromPrimary = { readonly farebox: 'metrics'; readonly id: number; readonly contentType: string; readonly text: string };

/** Most of what a request allocates is dead before its answer is out: a larger nursery spares it being copied first. */
const GATEWAY_FLAGS = ['--max-semi-space-size=32'];
const RESTART_AFTER_MS = 500;
const RESTART_MAX_MS = 10_000;
const CALM_MS = 60_000;

/**
 * The parent of a server on Redis and Postgres: one gateway process per core, and one process for everything that reaches
 * the database. It restarts what dies, hands signals on, and adds up the metrics; it serves nothing itself.
 */
export function supervise(settings: Settings, log: Log): Promise<number> {
  const seats = new Map<number, Seat>();
  const metrics = createAggregate();
  const pulses = createPulseRound();
  const postRefused = createRefusedPost(() => officeOf(seats));
  let stopping = false;
  let refused = false;
  let isUp = false;
  let restartMs = RESTART_AFTER_MS;
  const fork = (seat: Seat): Worker => {
    cluster.setupPrimary({ execArgv: [...process.execArgv, ...(seat.part === 'gateway' ? GATEWAY_FLAGS : [])] });
    const worker = cluster.fork({ [PART_VARIABLE]: seat.part, [SLOT_VARIABLE]: String(seat.slot) });
    seats.set(worker.id, seat);
    closeLostConnections(worker);
    worker.on('message', (message: ToPrimary) => answer(worker, message, metrics));
    worker.on('message', (message: object | null) => pulses(worker, message));
    worker.on('message', (message: Partial<RefusedMessage> | null) => postRefused(message));
    worker.once('listening', () => {
      isUp = true;
      seat.returns = true;
    });
    return worker;
  };
  const restart = (seat: Seat): void => {
    setTimeout(() => {
      if (!stopping) fork(seat);
    }, restartMs);
    restartMs = Math.min(restartMs * 2, RESTART_MAX_MS);
    setTimeout(() => {
      restartMs = RESTART_AFTER_MS;
    }, CALM_MS).unref();
  };
  /** Gateways first: the office stays until the last of them has settled, and books what they settle. */
  const stop = (): void => {
    stopping = true;
    const gateways = [...seats.values()].some(({ part }) => part === 'gateway');
    signalAll(seats, 'SIGTERM', ({ part }) => part === (gateways ? 'gateway' : 'office'));
  };
  const replace = createReplacing({ seats, fork, isStopping: () => stopping, log });
  return new Promise((resolve) => {
    cluster.on('exit', (worker, code, signal) => {
      const seat = seats.get(worker.id);
      seats.delete(worker.id);
      // Once somebody serves, a mistake made since then in a file must not end those who still run.
      refused ||= code === REFUSED_TO_START && !isUp;
      if (seats.size === 0 && (stopping || refused)) resolve(refused ? 1 : 0);
      else if (refused && !stopping) stop();
      else if (stopping) stopOfficeWhenAlone(seats);
      else if (seat?.returns) {
        if (code === 0) fork(seat);
        else restart(seat);
        log[code === 0 ? 'info' : 'error'](
          { part: seat.part, code, signal, restart_ms: restartMs },
          'a process ended; it is started again',
        );
      }
    });
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => signalAll(seats, 'SIGHUP', () => true));
    process.on('SIGUSR2', () => void replace());
    for (const seat of seatsFor(settings)) fork(seat);
  });
}

interface Seat {
  readonly part: Part;
  /** A gateway keeps its number over restarts, because its journal folder bears it. */
  readonly slot: number;
  /** Whether another one takes this seat when the process in it ends. */
  returns: boolean;
}

interface Replacing {
  readonly seats: ReadonlyMap<number, Seat>;
  fork(seat: Seat): Worker;
  isStopping(): boolean;
  readonly log: Log;
}

/** New processes for all: the gateways one by one, then the office. Who asks meanwhile may have changed a file since: it begins again. */
function createReplacing({ seats, fork, isStopping, log }: Replacing): () => Promise<void> {
  let isBusy = false;
  let isAskedAgain = false;
  const hire = (): Worker => fork({ part: 'gateway', slot: freeSlot(seats), returns: false });
  const retired = ({ id }: Worker): void => {
    const seat = seats.get(id);
    if (seat) seat.returns = false;
  };
  const round = async (): Promise<void> => {
    const ids = [...seats].flatMap(([id, { part, returns }]) => (part === 'gateway' && returns ? [id] : []));
    log.info({ gateways: ids.length }, 'replacing the processes one by one');
    const ended = await replaceOneByOne(
      ids.flatMap((id) => cluster.workers?.[id] ?? []),
      hire,
      retired,
    );
    if (ended === 'gave_up' && !isStopping()) log.error({}, 'a new gateway process could not start; the others go on as they are');
    if (ended === 'replaced' && !isStopping()) {
      const office = await replaceOffice(officeOf(seats), () => fork({ part: 'office', slot: 0, returns: true }), retired);
      if (office === 'gave_up' && !isStopping()) log.error({}, 'a new office process could not start; the one before goes on');
    }
  };
  return async () => {
    isAskedAgain = true;
    if (isBusy) return;
    isBusy = true;
    try {
      while (isAskedAgain && !isStopping()) {
        isAskedAgain = false;
        await round();
      }
    } catch (error) {
      log.error({ err: error }, 'the processes could not be replaced; those that are there go on');
    } finally {
      isBusy = false;
    }
  };
}

function officeOf(seats: ReadonlyMap<number, Seat>): Worker | undefined {
  for (const [id, { part }] of seats) if (part === 'office') return cluster.workers?.[id];
  return undefined;
}

function freeSlot(seats: ReadonlyMap<number, Seat>): number {
  const taken = new Set([...seats.values()].flatMap(({ part, slot }) => (part === 'gateway' ? [slot] : [])));
  let slot = 0;
  while (taken.has(slot)) slot += 1;
  return slot;
}

function stopOfficeWhenAlone(seats: ReadonlyMap<number, Seat>): void {
  if ([...seats.values()].every(({ part }) => part === 'office')) signalAll(seats, 'SIGTERM', () => true);
}

/** A child that cannot start says so itself and exits with this; starting it again would only say it again. */
export const REFUSED_TO_START = 78;

function seatsFor(settings: Settings): Seat[] {
  const has = (role: Role): boolean => settings.roles.includes(role);
  const office: Seat[] = has('api') || has('worker') ? [{ part: 'office', slot: 0, returns: true }] : [];
  return [...office, ...gatewaySlots(settings).map((slot) => ({ part: 'gateway' as const, slot, returns: true }))];
}

/** The numbers of the gateway processes of this configuration. */
export function gatewaySlots(settings: Settings): number[] {
  const count = settings.roles.includes('gateway') ? settings.gatewayProcesses || availableParallelism() : 0;
  return Array.from({ length: count }, (_, slot) => slot);
}

function signalAll(seats: ReadonlyMap<number, Seat>, signal: NodeJS.Signals, which: (seat: Seat) => boolean): void {
  for (const [id, seat] of seats) if (which(seat)) cluster.workers?.[id]?.process.kill(signal);
}

function answer(worker: Worker, message: ToPrimary, metrics: () => Promise<MetricsText>): void {
  if (message?.farebox !== 'metrics?') return;
  metrics().then(
    ({ contentType, text }) => worker.send({ farebox: 'metrics', id: message.id, contentType, text } satisfies FromPrimary),
    () => worker.send({ farebox: 'metrics', id: message.id, contentType: 'text/plain', text: '' } satisfies FromPrimary),
  );
}

/** In a child: asks the primary for everybody's numbers. */
export function metricsFromPrimary(): () => Promise<MetricsText> {
  const waiting = new Map<number, (text: MetricsText) => void>();
  let next = 0;
  process.on('message', (message: FromPrimary) => {
    if (message?.farebox !== 'metrics') return;
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  return () =>
    new Promise((resolve, reject) => {
      const id = ++next;
      const timer = setTimeout(() => {
        waiting.delete(id);
        reject(new Error('the primary did not answer'));
      }, 5_000);
      waiting.set(id, (text) => {
        clearTimeout(timer);
        resolve(text);
      });
      process.send?.({ farebox: 'metrics?', id } satisfies ToPrimary);
    });
}
