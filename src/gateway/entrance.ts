import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../domain/clock.js';
import { newRequestId } from '../domain/ids.js';
import type { GatewaySettings } from '../domain/settings.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { internalError, sendError, unavailable } from './errors.js';
import { createParking } from './parking.js';
import { createTurns } from './turns.js';

export interface EntranceDeps {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly settings: Pick<GatewaySettings, 'waitMaxMs'>;
}

interface Asking {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

export interface Entrance {
  take(asking: Asking): void;
  /** Listens to everybody again. */
  open(): void;
  /** Who waits, and who is not admitted yet and so not among the open requests. */
  busy(): number;
}

/** With so many in the queue, whoever has just been served stands at the end of another one, outside, as long as that lasts. */
const CROWD = 512;
/** So many then wait inside: enough for the next turns. */
const INSIDE = 96;
/** So many at most are listened to again in one turn: a few milliseconds of reading. */
const PER_TURN = 32;

/** Everybody comes in by turns. */
export function createEntrance(
  { log, metrics, clock, settings }: EntranceDeps,
  serve: (req: IncomingMessage, res: ServerResponse) => Promise<void>,
): Entrance {
  let preparing = 0;
  const served = (): void => {
    preparing -= 1;
  };
  const parking = createParking(clock.nowMs);
  const turns = createTurns<Asking>({
    start: ({ req, res }) => {
      preparing += 1;
      if (isCrowded()) parkAfter(req, res);
      const failed = (error: unknown): void => {
        preparing -= 1;
        log.error({ err: error }, 'a request failed');
        sendError(res, internalError(), newRequestId());
      };
      try {
        serve(req, res).then(served, failed);
      } catch (error) {
        failed(error);
      }
    },
    refuse: ({ res }) => {
      metrics.refusals.inc({ code: 'overloaded' });
      sendError(res, unavailable('More is asked than can be served. Try again in a moment.', 'overloaded'), newRequestId());
    },
    isGone: ({ res }) => res.destroyed,
    turned: () => {
      if (parking.size() > 0 && turns.waiting() < INSIDE) parking.release(PER_TURN);
      return parking.size() > 0;
    },
    nowMs: clock.nowMs,
    waitMaxMs: settings.waitMaxMs,
  });
  const isCrowded = (): boolean => parking.size() > 0 || turns.waiting() > CROWD;
  const parkAfter = ({ socket }: IncomingMessage, res: ServerResponse): void => {
    res.once('finish', () => {
      if (isCrowded() && res.shouldKeepAlive && !socket.destroyed) parking.park(socket);
    });
  };
  return {
    take: (asking) => turns.take(asking, parking.waitedSinceMs(asking.req.socket)),
    open: () => parking.release(Number.POSITIVE_INFINITY),
    busy: () => preparing + turns.waiting(),
  };
}
