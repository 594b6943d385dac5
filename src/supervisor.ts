import cluster, { type Worker } from 'node:cluster';
import { availableParallelism } from 'node:os';
import type { Role, Settings } from './domain/settings.js';
import type { Log } from './telemetry/log.js';
import { createAggregate, type MetricsText } from './telemetry/metrics.js';

export type Part = 'gateway' | 'office';

/** Says which part of the product a child process is. */
export const PART_VARIABLE = 'FAREBOX_PART';

export type ToPrimary = { readonly farebox: 'metrics?'; readonly id: number };
export type FromPrimary = { readonly farebox: 'metrics'; readonly id: number; readonly contentType: string; readonly text: string };

const RESTART_AFTER_MS = 500;
const RESTART_MAX_MS = 10_000;

/**
 * The parent of a server on Redis and Postgres: one gateway process per core, and one process for everything that reaches
 * the database. It restarts what dies, hands signals on, and adds up the metrics; it serves nothing itself.
 */
export function supervise(settings: Settings, log: Log): Promise<number> {
  const parts = new Map<number, Part>();
  const metrics = createAggregate();
  let stopping = false;
  let restartMs = RESTART_AFTER_MS;
  const fork = (part: Part): void => {
    const worker = cluster.fork({ [PART_VARIABLE]: part });
    parts.set(worker.id, part);
    worker.on('message', (message: ToPrimary) => answer(worker, message, metrics));
  };
  return new Promise((resolve) => {
    cluster.on('exit', (worker, code, signal) => {
      const part = parts.get(worker.id);
      parts.delete(worker.id);
      if (!stopping && code === REFUSED_TO_START) stopAll(parts, 'SIGTERM', () => true);
      if (!part || stopping || code === REFUSED_TO_START) {
        if (code === REFUSED_TO_START) stopping = true;
        if (parts.size === 0) resolve(code === REFUSED_TO_START ? 1 : 0);
        // The office stays until the last gateway has settled: it books what they settle.
        else if (stopping && ![...parts.values()].includes('gateway')) stopAll(parts, 'SIGTERM', (one) => one === 'office');
        return;
      }
      log.error({ part, code, signal, restart_ms: restartMs }, 'a process died; it is started again');
      setTimeout(() => !stopping && fork(part), restartMs);
      restartMs = Math.min(restartMs * 2, RESTART_MAX_MS);
      setTimeout(() => {
        restartMs = RESTART_AFTER_MS;
      }, 60_000).unref();
    });
    for (const part of partsFor(settings)) fork(part);
    const stop = (signal: NodeJS.Signals) => (): void => {
      stopping = true;
      const gateways = [...parts.values()].includes('gateway');
      stopAll(parts, signal, (part) => part === (gateways ? 'gateway' : 'office'));
    };
    process.on('SIGTERM', stop('SIGTERM'));
    process.on('SIGINT', stop('SIGTERM'));
    process.on('SIGHUP', () => stopAll(parts, 'SIGHUP', () => true));
  });
}

/** A child that cannot start says so itself and exits with this; starting it again would only say it again. */
export const REFUSED_TO_START = 78;

function partsFor(settings: Settings): Part[] {
  const has = (role: Role): boolean => settings.roles.includes(role);
  const gateways = has('gateway') ? settings.gatewayProcesses || availableParallelism() : 0;
  const office: Part[] = has('api') || has('worker') ? ['office'] : [];
  return [...office, ...Array<Part>(gateways).fill('gateway')];
}

function stopAll(parts: ReadonlyMap<number, Part>, signal: NodeJS.Signals, which: (part: Part) => boolean): void {
  for (const [id, part] of parts) if (which(part)) cluster.workers?.[id]?.process.kill(signal);
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
