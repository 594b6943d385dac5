import { z } from '@hono/zod-openapi';
import type { Actor, Reach } from '../accounts/actor.js';
import type { SignedIn } from '../accounts/people/session.js';
import type { RuleName } from '../accounts/roles/rules.js';
import { fieldErrors, inBody, inQuery } from './fieldErrors.js';
import { type FieldError, invalid, notFound, type Problem } from './problem.js';

export type Method = 'get' | 'post' | 'patch' | 'delete' | 'put';

/** One route as a row of the table: what it takes, what it answers, and who may use it. There is no default for the last. */
export interface RouteSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly method: Method;
  /** `/api/v1/orgs/{org}/tokens`; `{org}` is the organization the permission is asked for. */
  readonly path: string;
  readonly permission: RuleName | 'public';
  /** People have to have given their password or a one-time code within the last ten minutes. */
  readonly stepUp?: boolean;
  readonly summary: string;
  readonly tag: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** Takes `Idempotency-Key`; `required`: people and management keys have to send one, the operator key may. */
  readonly keyed?: boolean | 'required';
  /** Takes `If-Match` and answers `ETag`. */
  readonly conditional?: boolean;
  /** `type` when it is not JSON. */
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema: z.ZodType; readonly type?: string }>>;
  handle(call: Call<z.output<P>, z.output<Q>, z.output<B>>): Promise<Answer | Problem> | Answer | Problem;
}

export interface Call<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly actor: Actor;
  /** Whether the permission is for everything, or for what concerns tokens of one's own. */
  readonly reach: Reach;
  /** As far as the same actor may do something else here; null = not at all. */
  may(rule: RuleName): Reach | null;
  /** Asks again who this is and what they may, for answers that take long; null once it is over. */
  again(): Promise<Caller | null>;
  /** Of a person with a session cookie. */
  readonly session: SignedIn | null;
  readonly from: From;
  readonly requestId: string;
  readonly idempotencyKey: string | null;
  readonly ifMatch: string | null;
  /** Where a stream of events was interrupted. */
  readonly lastEventId: string | null;
  /** Whether the client asked for CSV before anything else. */
  readonly wantsCsv: boolean;
}

/** Where a call comes from: for the few routes that give and take cookies, or count tries. */
export interface From {
  readonly headers: Headers;
  /** The peer of the connection, never what a client says about itself. */
  readonly address: string | undefined;
  readonly url: string;
}

export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cookies?: readonly string[];
  /** Sent as it comes instead of `body`; given up when the client goes away. */
  readonly stream?: ReadableStream<Uint8Array>;
}

/** An answer of any length, of which only a piece at a time is in memory. */
export const streamed = (contentType: string, stream: ReadableStream<Uint8Array>, headers?: Readonly<Record<string, string>>): Answer => ({
  kind: 'answer',
  status: 200,
  body: null,
  stream,
  headers: { 'content-type': contentType, ...headers },
});

export const answer = (status: number, body: unknown, headers?: Readonly<Record<string, string>>): Answer => ({
  kind: 'answer',
  status,
  body,
  ...(headers ? { headers } : {}),
});

/** What came in, before anybody has looked at it. */
export interface RawCall {
  readonly params: Readonly<Record<string, string>>;
  readonly query: ReadonlyMap<string, readonly string[]>;
  readonly body: unknown;
  readonly headers: {
    readonly idempotencyKey: string | undefined;
    readonly ifMatch: string | undefined;
    readonly accept?: string | undefined;
    readonly lastEventId?: string | undefined;
  };
  readonly caller: Caller;
  readonly from: From;
  readonly requestId: string;
}

/** Who calls, as the guard has found. */
export interface Caller extends Pick<Call<never, never, never>, 'actor' | 'reach' | 'may' | 'again' | 'session'> {}

type AnySpec = Omit<RouteSpec<z.ZodType, z.ZodType, z.ZodType>, 'handle'>;

/** A route whose types are sealed inside: it validates what it is given, all of it at once, and answers. */
export interface Route extends AnySpec {
  /** Without the organization in its path: it is the caller's. */
  readonly isShort?: boolean;
  respond(raw: RawCall): Promise<Answer | Problem>;
}

const Nothing = z.strictObject({});

export function route<P extends z.ZodType = typeof Nothing, Q extends z.ZodType = typeof Nothing, B extends z.ZodType = typeof Nothing>(
  spec: RouteSpec<P, Q, B>,
): Route {
  const { handle, ...rest } = spec;
  const query = spec.query ?? Nothing;
  const body = spec.body ?? Nothing;
  const respond = async (raw: RawCall): Promise<Answer | Problem> => {
    const params = (spec.params ?? z.unknown()).safeParse(raw.params);
    if (!params.success) return notFound('There is nothing with this id.');
    const asked = query.safeParse(plainQuery(raw.query));
    const sent = body.safeParse(raw.body);
    const headers = headersOf(spec, raw);
    const errors = [
      ...(asked.success ? [] : fieldErrors(asked.error, inQuery)),
      ...(sent.success ? [] : fieldErrors(sent.error, inBody)),
      ...headers.errors,
    ];
    if (!asked.success || !sent.success || errors.length > 0) return invalid(errors);
    const { caller, from, requestId } = raw;
    const { idempotencyKey, ifMatch } = headers;
    return handle({
      params: params.data as z.output<P>,
      query: asked.data as z.output<Q>,
      body: sent.data as z.output<B>,
      ...caller,
      from,
      requestId,
      idempotencyKey,
      ifMatch,
      lastEventId: raw.headers.lastEventId ?? null,
      wantsCsv: /^\s*text\/csv\b/i.test(raw.headers.accept ?? ''),
    });
  };
  return { ...rest, respond };
}

/** A parameter given once is a text, several times a list; `__proto__` stays an own key, so that it is refused by name. */
function plainQuery(query: ReadonlyMap<string, readonly string[]>): Record<string, unknown> {
  const entries = [...query].map(([name, values]) => [
    name === '__proto__' ? '__proto__ ' : name,
    values.length === 1 ? values[0] : values,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

/** Printable ASCII, because header values beyond it mean different things to different proxies. */
const KEY = /^[\x21-\x7e]{1,255}$/;
/** The operator's commands and documented calls came before this demand, and go on without. */
const KEYED: ReadonlySet<Actor['kind']> = new Set(['person', 'key']);
const ETAG = /^(?:W\/)?"([\w-]{1,100})"$/;

function headersOf(spec: Pick<AnySpec, 'keyed' | 'conditional'>, raw: RawCall) {
  const errors: FieldError[] = [];
  const key = spec.keyed ? raw.headers.idempotencyKey : undefined;
  if (key !== undefined && !KEY.test(key))
    errors.push({ pointer: 'Idempotency-Key', code: 'wrong_form', message: 'Use 1 to 255 printable ASCII characters without spaces.' });
  if (key === undefined && spec.keyed === 'required' && KEYED.has(raw.caller.actor.kind))
    errors.push({
      pointer: 'Idempotency-Key',
      code: 'missing',
      message: 'Send this header with a value of your own, and the same one again when you repeat the request: it is done once.',
    });
  const match = spec.conditional ? raw.headers.ifMatch : undefined;
  const tag = match === undefined || match === '*' ? null : (ETAG.exec(match)?.[1] ?? undefined);
  if (tag === undefined) errors.push({ pointer: 'If-Match', code: 'wrong_form', message: 'Send the ETag as it was answered, in quotes.' });
  return { errors, idempotencyKey: key ?? null, ifMatch: tag ?? null };
}

/** An id in a path is a text that has the form of one; everything else is simply not there. */
export const idParam = <Id extends string>(is: (text: string) => text is Id, example: string) =>
  z
    .string()
    .refine((value): value is Id => is(value))
    .openapi({ type: 'string', example });
