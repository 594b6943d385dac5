import { monotonicMs } from '../domain/clock.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import type { RefusedRequest } from '../domain/refused.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { GatewayError } from './errors.js';
import { attributionOf } from './event.js';
import type { Refusals, Refused } from './exchange.js';

/** So many rows of one token in a minute; the next ones become one row that says how many there were. */
export const ROWS_PER_TOKEN = 20;
/** A customer with a thousand tokens pays nothing for refusals either. */
const ROWS_PER_ORG = 100;
const TOKENS_MAX = 10_000;
const WAITING_MAX = 1_000;
const BATCH_MAX = 500;
const MINUTE_MS = 60_000;

interface Seen {
  rows: number;
  /** Without a row of their own so far. */
  more: number;
  last: RefusedRequest | null;
}

export function createRefusals(deps: {
  readonly metrics: Metrics;
  /** Takes a batch to whoever has the books; false = not now. Null = there is nobody. */
  readonly deliver: ((batch: readonly RefusedRequest[]) => boolean) | null;
}): Refusals {
  const { deliver, metrics } = deps;
  const tokens = new Map<TokenId, Seen>();
  const orgs = new Map<OrgId, number>();
  let waiting: RefusedRequest[] = [];
  let minute = 0;

  const push = (row: RefusedRequest): void => {
    if (row.unlisted > 0) metrics.refusalsUnlisted.inc(row.unlisted);
    if (waiting.length < WAITING_MAX) waiting.push(row);
    else metrics.refusalsUnlisted.inc();
  };
  const handOver = (): void => {
    if (!deliver || waiting.length === 0 || !deliver(waiting.slice(0, BATCH_MAX))) return;
    waiting = waiting.slice(BATCH_MAX);
  };
  const endMinute = (): void => {
    for (const { more, last } of tokens.values()) if (last) push({ ...last, unlisted: more - 1 });
    tokens.clear();
    orgs.clear();
  };
  return {
    note: (refused, error) => {
      if (!isForLogs(error)) return;
      const { tokenId, orgId } = refused.caller;
      const seen = tokens.get(tokenId) ?? { rows: 0, more: 0, last: null };
      if (!deliver || (seen.rows === 0 && seen.more === 0 && tokens.size >= TOKENS_MAX)) return metrics.refusalsUnlisted.inc();
      tokens.set(tokenId, seen);
      const ofOrg = orgs.get(orgId) ?? 0;
      const row = rowOf(refused, error);
      if (seen.rows < ROWS_PER_TOKEN && ofOrg < ROWS_PER_ORG) {
        seen.rows += 1;
        orgs.set(orgId, ofOrg + 1);
        push(row);
      } else {
        seen.more += 1;
        seen.last = row;
      }
    },
    tick: (nowMs) => {
      const now = Math.floor(nowMs / MINUTE_MS);
      if (now !== minute) endMinute();
      minute = now;
      handOver();
    },
    close: () => {
      endMinute();
      handOver();
    },
  };
}

/** What is our own trouble is no news about a request; and a secret that is not known belongs to nobody. */
const isForLogs = ({ status, code }: GatewayError): boolean => status < 500 && code !== 'invalid_api_key';

function rowOf({ id, req, endpoint, caller, startedMs, asked }: Refused, error: GatewayError): RefusedRequest {
  return {
    request_id: id,
    org_id: caller.orgId,
    token_id: caller.tokenId,
    model: asked?.model ?? 'unknown',
    endpoint: endpoint.path,
    stream: asked?.stream ?? false,
    http_status: error.status,
    code: error.code,
    latency_ms: Math.max(0, monotonicMs() - startedMs),
    ...attributionOf(req, caller, asked),
    unlisted: 0,
  };
}
