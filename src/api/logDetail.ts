import { z } from '@hono/zod-openapi';
import type { Breakdown } from '../domain/charge.js';
import { type Fraction, fraction, multiply, NOTHING, parseFraction } from '../pricing/fraction.js';
import type { Booking, BookingLine, LogDetail } from '../usage/readLog.js';
import type { TokenNames } from '../usage/tokenNames.js';
import { type ApiDeps, shown } from './deps.js';
import { LogSchema, logOut } from './logShape.js';
import { AmountOutSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const Tokens = z.strictObject({ input: z.int(), output: z.int() });
const Exact = z.string().regex(/^\d+(\/\d+)?$/);

export const LogDetailSchema = LogSchema.extend({
  /** The organization's day it was counted on. */
  day: z.iso.date(),
  /** `floor`: its server vanished; a final count may still come. */
  kind: z.enum(['floor', 'final']),
  charges: z.strictObject({
    lines: z.array(
      z.strictObject({
        meter: z.string(),
        quantity: z.number(),
        /** Micro-credits per single unit, exact: "15" or "1/3". */
        rate: Exact,
        /** quantity × rate × times, in micro-credits, exact. */
        micro: Exact,
      }),
    ),
    times: Exact,
    /** The sum of the lines before its one rounding. */
    exact_micro: Exact,
    rounded_up_micro: z.int(),
    /** Beyond the hold in strict mode: carried by the operator, not charged. */
    operator_loss: AmountOutSchema,
    charged: AmountOutSchema,
  }),
  hold: z.strictObject({
    held: AmountOutSchema,
    settled: AmountOutSchema,
    released: AmountOutSchema,
    /** Charged on top of what was held. */
    beyond: AmountOutSchema,
    settled_after_ms: z.int(),
  }),
  counting: z.strictObject({
    /** Who counted what was charged. */
    source: z.enum(['upstream', 'estimated']),
    all: z.record(z.string(), z.number()),
    /** What the upstream said, as far as it said anything that can be true. */
    upstream: Tokens.nullable(),
    /** What we counted with the tokenizer; most requests need no count of ours. */
    tokenizer: Tokens.nullable(),
  }),
  /** Every try at an upstream, in order. */
  routing: z.array(
    z.strictObject({
      upstream: z.string(),
      /** What it answered; null when it did not. */
      status: z.int().nullable(),
      failure: z.string().nullable(),
      /** Until that was known; null when it went as usual, where only the whole is kept. */
      ms: z.int().nullable(),
    }),
  ),
  timeline: z.strictObject({
    received_at: TimeOut,
    /** All further times are milliseconds from the last byte of the request. Null = under a second, which is not kept. */
    held_ms: z.int().nullable(),
    extensions: z.array(z.strictObject({ ms: z.int(), held: AmountOutSchema })),
    /** Of a stream. */
    first_byte_ms: z.int().nullable(),
    settled_ms: z.int(),
  }),
  corrections: z.array(
    z.strictObject({ at: TimeOut, from_kind: z.string(), to_kind: z.string(), from: AmountOutSchema, to: AmountOutSchema }),
  ),
  bucket_debits: z.array(
    z.strictObject({
      transaction: z.string(),
      kind: z.enum(['usage', 'usage_return']),
      at: TimeOut,
      /** What this request took in that transaction; negative when it was given back. */
      amount: AmountOutSchema,
      /** False: the transaction paid for several requests out of several buckets, so no single coin can be told apart. */
      exact: z.boolean(),
      buckets: z.array(
        z.strictObject({
          grant_id: z.string().nullable(),
          kind: z.string(),
          category: z.string().nullable(),
          expires_at: TimeOut.nullable(),
          amount: AmountOutSchema.nullable(),
        }),
      ),
    }),
  ),
}).openapi('LogDetail');

export function logDetailOut(deps: ApiDeps, row: LogDetail & TokenNames): z.input<typeof LogDetailSchema> {
  const amount = (micro: number) => shown(deps, micro);
  return {
    ...logOut(deps, row),
    day: row.day,
    kind: row.kind,
    charges: {
      ...waterfall(row.breakdown, row.cost + row.operator_loss),
      operator_loss: amount(row.operator_loss),
      charged: amount(row.cost),
    },
    hold: {
      held: amount(row.held),
      settled: amount(row.cost),
      released: amount(Math.max(0, row.held - row.cost)),
      beyond: amount(Math.max(0, row.cost - row.held)),
      settled_after_ms: row.latency_ms,
    },
    counting: { source: row.source, all: countsOf(row), ...countersOf(row) },
    routing: routingOf(row),
    timeline: {
      received_at: timeOut(row.ts),
      held_ms: row.trace?.held_ms ?? null,
      extensions: (row.trace?.extended ?? []).map(({ ms, amount: held }) => ({ ms, held: amount(held) })),
      first_byte_ms: row.ttft_ms,
      settled_ms: row.latency_ms,
    },
    corrections: row.corrections.map((one) => ({
      at: timeOut(one.at),
      from_kind: one.old_kind,
      to_kind: one.new_kind,
      from: amount(one.old_cost),
      to: amount(one.new_cost),
    })),
    bucket_debits: row.booked.map((one) => debitOut(deps, one)),
  };
}

type Detail = z.input<typeof LogDetailSchema>;

/** Where only one of the two counted, its count is the row itself. A request that came to nothing was counted by nobody. */
function countersOf({ trace, source, input, output, kind, status }: LogDetail): Pick<Detail['counting'], 'upstream' | 'tokenizer'> {
  const isCounted = kind === 'final' && status !== 'failed' && status !== 'rejected';
  const own = (who: LogDetail['source']) => (isCounted && source === who ? { input, output } : null);
  return { upstream: trace?.reported ?? own('upstream'), tokenizer: trace?.counted ?? own('estimated') };
}

function routingOf({ trace, upstream, http_status, attempts }: LogDetail): Detail['routing'] {
  if (trace?.tries) return trace.tries.map(({ status = null, failure = null, ...rest }) => ({ ...rest, status, failure }));
  return attempts === 0 || upstream === '' ? [] : [{ upstream, status: http_status, failure: null, ms: null }];
}

/** The lines as they add up; what is left to the charge is the one rounding. */
function waterfall({ lines, times }: Breakdown, charged: number) {
  const factor = parseFraction(times) ?? fraction(1n);
  const priced = lines.map(({ meter, quantity, rate }) => {
    const exact = multiply(multiply(fraction(BigInt(quantity)), parseFraction(rate) ?? NOTHING), factor);
    return { meter, quantity, rate, exact };
  });
  const sum = priced.reduce((total, { exact }) => plus(total, exact), NOTHING);
  return {
    lines: priced.map(({ meter, quantity, rate, exact }) => ({ meter, quantity, rate, micro: exact.text })),
    times: factor.text,
    exact_micro: sum.text,
    rounded_up_micro: charged - Number(sum.n / sum.d),
  };
}

const plus = (a: Fraction, b: Fraction): Fraction => fraction(a.n * b.d + b.n * a.d, a.d * b.d);

function debitOut(deps: ApiDeps, { tx_id, kind, at, share, lines }: Booking): z.input<typeof LogDetailSchema>['bucket_debits'][number] {
  const taken = -lines.reduce((sum, line) => sum + line.amount, 0);
  const exact = taken === share || lines.length === 1;
  const part = (line: BookingLine): number | null => (!exact ? null : taken === share ? -line.amount : share);
  return {
    transaction: `tx_${tx_id}`,
    kind,
    at: timeOut(at),
    amount: shown(deps, share),
    exact,
    buckets: lines.map((line) => {
      const micro = part(line);
      return {
        grant_id: line.grant_id === null ? null : `grant_${line.grant_id}`,
        kind: line.grant_kind ?? 'debt',
        category: line.category,
        expires_at: timeOutOrNull(line.expires_at),
        amount: micro === null ? null : shown(deps, micro),
      };
    }),
  };
}

const COUNTS = [
  'input',
  'cached_input',
  'cache_write_5m',
  'cache_write_1h',
  'output',
  'reasoning',
  'audio_input',
  'audio_output',
  'images',
  'seconds',
  'characters',
] as const satisfies readonly (keyof LogDetail)[];

function countsOf(row: LogDetail): Record<string, number> {
  const built = COUNTS.map((name) => [name, row[name]] as const).filter(([, count]) => count > 0);
  const custom = Object.entries(row.meters ?? {}).map(([name, count]) => [name === '__proto__' ? '(__proto__)' : name, count] as const);
  return Object.fromEntries([...built, ...custom]);
}
