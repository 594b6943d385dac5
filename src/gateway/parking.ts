import type { Socket } from 'node:net';
import { Line } from './line.js';

/**
 * Connections that are not read for now. What a waiting request has become in this process is carried along by every
 * collection of garbage it lives through, and thousands of them take a quarter of its time; one that was not read yet waits in
 * the kernel, for nothing. So when many wait already, whoever has just had an answer gets no ear until it is their turn.
 */
export interface Parking {
  /** Not read again until it is let out. What it says meanwhile is not lost. */
  park(socket: Socket): void;
  /** Listens again to at most so many, those first who have waited longest. */
  release(most: number): void;
  /** Since when somebody who has just come was not listened to; undefined when that is not known to be so. */
  waitedSinceMs(socket: Socket): number | undefined;
  size(): number;
}

/** Whoever speaks right after being let out has most likely spoken before. */
const AT_ONCE_MS = 50;

export function createParking(nowMs: () => number): Parking {
  const parked = new Line<{ readonly socket: Socket; readonly sinceMs: number }>();
  const released = new WeakMap<Socket, { readonly sinceMs: number; readonly atMs: number }>();
  let lastMs = 0;
  return {
    park: (socket) => {
      socket.pause();
      parked.push({ socket, sinceMs: nowMs() });
    },
    release: (most) => {
      const atMs = nowMs();
      lastMs = atMs;
      for (let left = most; left > 0; ) {
        const next = parked.shift();
        if (!next) return;
        const { socket, sinceMs } = next;
        if (socket.destroyed) continue;
        left -= 1;
        released.set(socket, { sinceMs, atMs });
        socket.resume();
      }
    },
    waitedSinceMs: (socket) => {
      // At ease nothing is looked up.
      if (lastMs === 0 || nowMs() - lastMs > AT_ONCE_MS) return undefined;
      const one = released.get(socket);
      return one && nowMs() - one.atMs <= AT_ONCE_MS ? one.sinceMs : undefined;
    },
    size: () => parked.length,
  };
}
