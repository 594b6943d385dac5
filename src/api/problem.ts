/** RFC 9457: the one shape in which anything under /api says no. */
export interface Problem {
  readonly kind: 'problem';
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly errors?: readonly FieldError[];
  /** Further members of the body, named in the schema. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `pointer`: a JSON pointer into the body, or `?name` for a query parameter, or a header's name. */
export interface FieldError {
  readonly pointer: string;
  readonly code: string;
  readonly message: string;
}

export function problemResponse(problem: Problem, requestId: string): Response {
  const { status, code, title, detail, errors, more, headers } = problem;
  const type = `urn:farebox:problem:${code}`;
  const body = JSON.stringify({ type, title, status, detail, code, request_id: requestId, ...(errors ? { errors } : {}), ...more });
  return new Response(body, { status, headers: { 'content-type': 'application/problem+json', 'x-request-id': requestId, ...headers } });
}

const problem = (status: number, code: string, title: string, detail: string): Problem => ({
  kind: 'problem',
  status,
  code,
  title,
  detail,
});

export const malformed = (detail: string, code = 'malformed_body'): Problem => problem(400, code, 'The body cannot be read', detail);

export const unreadable = (): Problem =>
  problem(400, 'malformed_request', 'The request cannot be read', 'Its address or its Host header is not valid.');

export const invalid = (errors: readonly FieldError[]): Problem => ({
  ...problem(
    400,
    'validation_failed',
    'Some of what was sent is not valid',
    errors.map(({ pointer, message }) => `${pointer || 'body'}: ${message}`).join(' '),
  ),
  errors,
});

export const badCursor = (code: 'cursor_invalid' | 'cursor_mismatch'): Problem => ({
  ...problem(
    400,
    code,
    'The cursor does not fit',
    code === 'cursor_invalid'
      ? 'This cursor was not made here. Use next_cursor of the page before, as it is.'
      : 'This cursor belongs to other filters. Keep the filters while paging, or start again without a cursor.',
  ),
});

export const unauthorized = (detail: string): Problem => ({
  ...problem(401, 'unauthorized', 'Who is asking?', detail),
  headers: { 'www-authenticate': 'Bearer realm="farebox"' },
});

/** Without asking for a key: whoever sees this is at a form. */
export const signInFailed = (code: string, detail: string): Problem => problem(401, code, 'That did not match', detail);

export const wrongCredential = (detail: string): Problem => problem(403, 'wrong_credential', 'This credential cannot do that', detail);

export const forbidden = (missing: { readonly permission: string } | { readonly scope: string }): Problem =>
  'scope' in missing
    ? {
        ...problem(403, 'forbidden', 'Not allowed', `This key needs the scope ${missing.scope}.`),
        more: { required_scope: missing.scope },
      }
    : {
        ...problem(403, 'forbidden', 'Not allowed', `This needs the permission ${missing.permission}.`),
        more: { required_permission: missing.permission },
      };

export const stepUpRequired = (): Problem =>
  problem(
    403,
    'step_up_required',
    'Show that it is you',
    'This needs your password or a one-time code, given within the last ten minutes. Confirm it is you, and repeat the request.',
  );

export const twoFactorRequired = (): Problem =>
  problem(
    403,
    'two_factor_required',
    'A second factor is needed here',
    'This organization lets in only members with two-factor sign-in. Switch it on for your account (POST /api/v1/auth/totp/enroll), and repeat the request.',
  );

export const foreignOrigin = (): Problem =>
  problem(
    403,
    'foreign_origin',
    'Sent from another site',
    'A change with a session cookie must come from a page of this server: its Origin header does not name it. Programs use a management key.',
  );

export const organizationNeeded = (): Problem => ({
  ...invalid([
    {
      pointer: 'X-Organization',
      code: 'missing',
      message: 'You belong to several organizations, or to none. Name one by its id (org_…) here, or use /api/v1/orgs/{org}/….',
    },
  ]),
});

export const notFound = (what: string): Problem => problem(404, 'not_found', 'Not found', `${what} Check the id and who it belongs to.`);

export const unknownPath = (): Problem =>
  problem(404, 'unknown_path', 'Not found', 'There is nothing at this path. GET /api/v1/openapi.json lists what there is.');

export const wrongMethod = (method: string, allowed: readonly string[]): Problem => ({
  ...problem(405, 'method_not_allowed', 'Method not allowed', `${method.slice(0, 20)} is not possible here. Use ${allowed.join(', ')}.`),
  headers: { allow: allowed.join(', ') },
});

/** An expected no that is about what was named, not about how it was asked. */
export const refused = (status: 402 | 403 | 404 | 409 | 410, code: string, detail: string, more?: Problem['more']): Problem => ({
  ...problem(status, code, 'Not possible as things stand', detail),
  ...(more ? { more } : {}),
});

export const tooMany = (code: string, detail: string, waitMs: number): Problem => ({
  ...problem(429, code, 'Too many attempts', detail),
  headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
});

export const tooFast = (waitMs: number): Problem => ({
  ...tooMany('rate_limited', `Too many requests with this credential. Try again in ${Math.max(1, Math.ceil(waitMs / 1000))} s.`, waitMs),
  title: 'Too many requests',
});

export const conflict = (code: string, detail: string): Problem => problem(409, code, 'Not possible as things stand', detail);

export const changedMeanwhile = (current: unknown, etag: string): Problem => ({
  ...problem(412, 'changed_meanwhile', 'Changed meanwhile', 'Somebody changed this after you read it. `current` is how it looks now.'),
  more: { current },
  headers: { etag },
});

export const tooLarge = (bytesMax: number): Problem => ({
  ...problem(413, 'body_too_large', 'The body is too large', `A body may have up to ${bytesMax} bytes.`),
  headers: { connection: 'close' },
});

export const wrongType = (found: string | undefined): Problem =>
  problem(
    415,
    'unsupported_media_type',
    'Only JSON is read here',
    `${found ? `Found "${found.slice(0, 80)}".` : 'No content type was sent.'} Send 'content-type: application/json', not compressed.`,
  );

export const idempotencyMismatch = (): Problem =>
  problem(
    422,
    'idempotency_mismatch',
    'The key was used for something else',
    'This Idempotency-Key was already used with another body. Repeat that body, or use a new key.',
  );

export const internal = (): Problem =>
  problem(500, 'internal_error', 'Something went wrong here', 'It has been logged under this request id. Trying again may help.');

export const databaseAway = (): Problem => ({
  ...problem(
    503,
    'database_unavailable',
    'The books are not reachable',
    'The database does not answer right now. Requests on /v1 go on. Try again.',
  ),
  headers: { 'retry-after': '2' },
});

export const notPriced = (detail: string): Problem => problem(400, 'model_not_priced', 'There is no such price', detail);

export const tryAgain = (code: string, detail: string): Problem => ({
  ...problem(503, code, 'Not right now', detail),
  headers: { 'retry-after': '2' },
});

export const creditsAway = (): Problem => ({
  ...problem(
    503,
    'credit_store_unavailable',
    'The balances are not reachable',
    'The credit store does not answer right now. Nothing was charged. Try again.',
  ),
  headers: { 'retry-after': '2' },
});

/** The change is written, but not in force: saying 200 would promise what the gateway does not do yet. */
export const notInForce = (what: string): Problem => ({
  ...problem(
    503,
    'not_in_force_yet',
    'Saved, but not in force yet',
    `${what} is saved; the credit store does not answer right now and takes it over as soon as it does. Repeating the request is safe.`,
  ),
  headers: { 'retry-after': '2' },
});
