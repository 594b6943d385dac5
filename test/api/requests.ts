import type { Database } from '../../src/db/client.js';
import type { ChargeEvent, ChargeLine } from '../../src/domain/charge.js';
import { newRequestId, type OrgId, type TokenId } from '../../src/domain/ids.js';
import { postCharges } from '../../src/ledger/post.js';
import { recompute } from '../../src/pricing/charge.js';

/** An id made at a chosen moment; `newRequestId` never goes back. */
export const idAt = (ms: number) => `req_${ms.toString(16).padStart(12, '0')}7000${newRequestId().slice(-16)}` as ChargeEvent['request_id'];

export interface Asked {
  readonly org: string;
  readonly token: string;
  readonly atMs: number;
  readonly input?: number;
  readonly output?: number;
  readonly rates?: { readonly input: string; readonly output: string };
  readonly over?: Partial<ChargeEvent>;
}

/** A settled request whose cost is what its breakdown makes. */
export function requestOf({
  org,
  token,
  atMs,
  input = 100,
  output = 10,
  rates = { input: '15', output: '60' },
  over = {},
}: Asked): ChargeEvent {
  const all: ChargeLine[] = [
    { meter: 'input', quantity: input, rate: rates.input },
    { meter: 'output', quantity: output, rate: rates.output },
  ];
  const breakdown = over.breakdown ?? { lines: all.filter((line) => line.quantity > 0), times: '1' };
  const cost = over.cost ?? recompute(breakdown);
  return {
    request_id: idAt(atMs),
    org_id: org as OrgId,
    token_id: token as TokenId,
    kind: 'final',
    status: 'complete',
    model: 'gpt-4o-mini',
    served_model: 'gpt-4o-mini-2024',
    endpoint: '/chat/completions',
    upstream: 'openai',
    stream: false,
    http_status: 200,
    cost,
    held: cost + 1_000,
    debt: false,
    operator_loss: 0,
    source: 'upstream',
    usage: {
      ...{ input, cached_input: 0, cache_write_5m: 0, cache_write_1h: 0, output, reasoning: 0 },
      ...{ audio_input: 0, audio_output: 0, images: 0, seconds: 0, characters: 0 },
    },
    price_version: 'pv_0123456789abcdef',
    breakdown,
    client_request_id: null,
    end_user: null,
    agent: null,
    conversation: null,
    finish_reason: 'stop',
    latency_ms: 1234,
    ttft_ms: null,
    flags: [],
    attempts: 1,
    ...over,
  };
}

export const post = (db: Database, ...events: readonly ChargeEvent[]) =>
  postCharges(
    db,
    events.map((event) => JSON.stringify(event)),
  );
