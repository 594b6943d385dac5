import type { OrgId, RequestId, TokenId } from './ids.js';

/**
 * A request of a known token that was refused before anything was set aside: nothing is owed, and no hot balance has heard
 * of it. Names are the columns of `usage_records`, where there are such.
 */
export interface RefusedRequest {
  readonly request_id: RequestId;
  readonly org_id: OrgId;
  readonly token_id: TokenId;
  /** `unknown` when the request could not be read. */
  readonly model: string;
  readonly endpoint: string;
  readonly stream: boolean;
  readonly http_status: number;
  /** The code of the error its client was given. */
  readonly code: string;
  readonly latency_ms: number;
  readonly client_request_id: string | null;
  readonly end_user: string | null;
  readonly agent: string | null;
  readonly conversation: string | null;
  /** Requests of the same token that were refused in the same minute and have no row of their own. */
  readonly unlisted: number;
}
