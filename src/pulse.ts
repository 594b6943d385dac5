import cluster, { type Worker } from 'node:cluster';
import type { FrontPulse, Pulse, Pulses } from './telemetry/pulse.js';
import { version } from './version.js';

// How the process that serves the management API learns how the others are: it asks the primary, which asks them all.

type ToProcess = { readonly farebox: 'pulse?'; readonly id: number };
type FromProcess = { readonly farebox: 'pulse'; readonly id: number; readonly pulse: Pulse };
type ToPrimary = { readonly farebox: 'pulses?'; readonly id: number };
type FromPrimary = { readonly farebox: 'pulses'; readonly id: number; readonly found: Pulses };

/** A process that is just starting or ending does not hold the answer up for longer. */
const PROCESS_MS = 1_000;
const PRIMARY_MS = 3_000;

export function pulseOf(part: Pulse['part'], slot: number, front: FrontPulse | null): Pulse {
  const startedAtMs = Date.now() - Math.round(process.uptime() * 1_000);
  return { part, slot, pid: process.pid, version: version(), startedAtMs, front };
}

/** In a process of a cluster. */
export function sharePulse(take: () => Pulse): void {
  process.on('message', (message: Partial<ToProcess> | null) => {
    if (message?.farebox !== 'pulse?' || message.id === undefined) return;
    process.send?.({ farebox: 'pulse', id: message.id, pulse: take() } satisfies FromProcess);
  });
}

/** In the primary: what a process that asks for all pulses is answered. */
export function createPulseRound(): (from: Worker, message: Partial<ToPrimary> | null) => void {
  let rounds = 0;
  const ask = async (): Promise<Pulses> => {
    const round = ++rounds;
    const workers = Object.values(cluster.workers ?? {}).flatMap((worker) => (worker?.isConnected() ? [worker] : []));
    const found = await Promise.all(workers.map((worker) => pulseFrom(worker, round)));
    const pulses = found.flatMap((pulse) => pulse ?? []);
    return { pulses, silent: found.length - pulses.length };
  };
  return (from, message) => {
    const { id } = message ?? {};
    if (message?.farebox !== 'pulses?' || id === undefined) return;
    void ask().then((found) => from.isConnected() && from.send({ farebox: 'pulses', id, found } satisfies FromPrimary, () => undefined));
  };
}

function pulseFrom(worker: Worker, id: number): Promise<Pulse | undefined> {
  return new Promise((resolve) => {
    const done = (pulse: Pulse | undefined): void => {
      clearTimeout(late);
      worker.off('message', listen);
      resolve(pulse);
    };
    const listen = (message: Partial<FromProcess> | null): void => {
      if (message?.farebox === 'pulse' && message.id === id) done(message.pulse);
    };
    const late = setTimeout(() => done(undefined), PROCESS_MS);
    worker.on('message', listen);
    worker.send({ farebox: 'pulse?', id } satisfies ToProcess, (error: Error | null) => error && done(undefined));
  });
}

/** In the process that wants to know. */
export function pulsesFromPrimary(): () => Promise<Pulses> {
  const waiting = new Map<number, (found: Pulses) => void>();
  let asked = 0;
  process.on('message', (message: Partial<FromPrimary> | null) => {
    if (message?.farebox === 'pulses' && message.id !== undefined && message.found) waiting.get(message.id)?.(message.found);
  });
  return () =>
    new Promise((resolve) => {
      const id = ++asked;
      const done = (found: Pulses): void => {
        clearTimeout(late);
        waiting.delete(id);
        resolve(found);
      };
      const late = setTimeout(() => done({ pulses: [], silent: 1 }), PRIMARY_MS);
      waiting.set(id, done);
      process.send?.({ farebox: 'pulses?', id } satisfies ToPrimary);
    });
}
