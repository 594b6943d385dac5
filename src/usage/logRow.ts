import type { Breakdown, RequestStatus, UsageSource } from '../domain/charge.js';

/** One settled request as it stands in the books; amounts are micro-credits. */
export interface LogRow {
  readonly request_id: string;
  readonly ts: string;
  readonly token_id: string;
  readonly kind: 'floor' | 'final';
  readonly status: RequestStatus;
  readonly model: string;
  readonly served_model: string;
  readonly endpoint: string;
  readonly upstream: string;
  readonly stream: boolean;
  readonly http_status: number;
  readonly cost: number;
  readonly held: number;
  readonly debt: boolean;
  readonly source: UsageSource;
  readonly input: number;
  readonly cached_input: number;
  readonly output: number;
  readonly reasoning: number;
  readonly price_version: string;
  readonly breakdown: Breakdown;
  readonly client_request_id: string | null;
  readonly end_user: string | null;
  readonly agent: string | null;
  readonly conversation: string | null;
  readonly finish_reason: string | null;
  readonly latency_ms: number;
  readonly ttft_ms: number | null;
  readonly flags: readonly string[];
  readonly attempts: number;
}

/** The row `r` of usage_records as JSON, under the id the client was given. */
export const LOG_VIEW = `
  to_jsonb(r) - '{org_id,tx_id,day,operator_loss,meters,trace}'::text[]
    || jsonb_build_object('request_id', 'req_' || replace(r.request_id::text, '-', ''))`;

/** `req_` + 32 hex digits as the database keeps it. */
export const uuidOf = (requestId: string): string => requestId.slice(4);

/** The smallest id of a millisecond: ids sort by time, so a time range is a range of ids. */
export const firstIdAt = (ms: number): string => Math.max(0, ms).toString(16).padStart(12, '0').padEnd(32, '0');
