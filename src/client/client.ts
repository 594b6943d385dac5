/** One route: what it takes, and what a good answer is. */
export interface Route {
  readonly args: unknown[];
  readonly answer: unknown;
}

/** A problem as the server says it (RFC 9457); `errors` names every wrong field. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly request_id: string;
  readonly errors?: readonly { readonly pointer: string; readonly code: string; readonly message: string }[];
  readonly [more: string]: unknown;
}

export type Result<Answer> =
  | { readonly ok: true; readonly status: number; readonly data: Answer; readonly headers: Headers }
  | { readonly ok: false; readonly status: number; readonly problem: Problem; readonly headers: Headers };

/** `client.call('GET /api/v1/orgs/{org}/tokens', { params: { org } })`: the route says what goes in and what comes out. */
export interface Client<Routes> {
  call<Name extends keyof Routes & string>(
    name: Name,
    ...args: Routes[Name] extends Route ? Routes[Name]['args'] : never
  ): Promise<Result<Routes[Name] extends Route ? Routes[Name]['answer'] : never>>;
}

export interface ClientOptions {
  /** Where the server is: `https://credits.example.com`. */
  readonly baseUrl: string;
  /** A management key (`mk-fb-…`) or operator key (`ok-fb-…`); without one the browser's cookie counts. */
  readonly key?: string;
  /** Sent with every call. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

interface Input {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly idempotencyKey?: string;
  readonly ifMatch?: string;
  readonly signal?: AbortSignal;
}

/** Never throws for what the server says; only when it cannot be reached, or does not answer as this API does. */
export function createClient<Routes>(options: ClientOptions): Client<Routes> {
  const send = options.fetch ?? ((url, init) => fetch(url, init));
  const call = async (name: string, input: Input = {}): Promise<Result<unknown>> => {
    const [method = 'GET', path = ''] = name.split(' ');
    const url = `${options.baseUrl.replace(/\/+$/, '')}${filled(path, input.params ?? {})}${queryOf(input.query ?? {})}`;
    const response = await send(url, {
      method,
      headers: headersOf(options, input),
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      ...(input.signal ? { signal: input.signal } : {}),
      ...(options.key === undefined ? { credentials: 'include' as const } : {}),
    });
    return resultOf(name, response);
  };
  return { call: call as unknown as Client<Routes>['call'] };
}

function filled(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    if (value === undefined || value === '') throw new TypeError(`${path} needs ${name}`);
    return encodeURIComponent(value);
  });
}

/** A list is the parameter several times; what is undefined or null is left out. */
function queryOf(query: Readonly<Record<string, unknown>>): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== null) found.append(name, String(one));
  const text = found.toString();
  return text === '' ? '' : `?${text}`;
}

function headersOf({ key, headers }: ClientOptions, input: Input): Record<string, string> {
  return {
    ...headers,
    accept: 'application/json, */*;q=0.5',
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...(input.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(input.idempotencyKey === undefined ? {} : { 'idempotency-key': input.idempotencyKey }),
    ...(input.ifMatch === undefined ? {} : { 'if-match': input.ifMatch }),
  };
}

/** JSON is read; anything else (files, events) is given as the stream it is. */
async function resultOf(name: string, response: Response): Promise<Result<unknown>> {
  const { status, headers } = response;
  const type = headers.get('content-type') ?? '';
  if (response.ok) {
    const data = type.startsWith('application/json') ? await response.json() : response.body;
    return { ok: true, status, data, headers };
  }
  if (type.startsWith('application/problem+json')) return { ok: false, status, problem: (await response.json()) as Problem, headers };
  await response.body?.cancel();
  throw new Error(`${name} was answered with ${status} by something that is not this API`);
}
