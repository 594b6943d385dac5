import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError, EXIT, type VerbCall } from './verb.js';

export interface RunningServer {
  readonly url: string;
  call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
}

export class NotReachable extends CliError {
  constructor(url: string) {
    super(
      `No Farebox answers at ${url}. Start it with "farebox start" (from a checkout: npm start), or set FAREBOX_URL to where it runs.`,
      EXIT.failed,
    );
  }
}

const TIMEOUT_MS = 60_000;

/** The running server, asked with the operator key. */
export function runningServer(call: Pick<VerbCall, 'env' | 'options'>): RunningServer {
  const url = serverUrl(call.env);
  return {
    url,
    call: async (method, path, body) => {
      const key = operatorKey(call);
      if (key === undefined) throw await noKey(call, url);
      const response = await ask(url, path, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer: unknown = await response.json().catch(() => null);
      const isObject = typeof answer === 'object' && answer !== null;
      if (response.ok && isObject) return answer as Record<string, unknown>;
      throw refusal(url, response.status, isObject ? (answer as Record<string, unknown>) : {});
    },
  };
}

export async function ask(url: string, path: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(new URL(path, `${url}/`), { ...init, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new NotReachable(url);
  }
}

export function serverUrl(env: VerbCall['env']): string {
  const text = env['FAREBOX_URL'] || 'http://127.0.0.1:8080';
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed && /^https?:$/.test(parsed.protocol)) return parsed.origin + parsed.pathname.replace(/\/+$/, '');
  throw new CliError('FAREBOX_URL must be an address such as http://127.0.0.1:8080.', EXIT.usage);
}

export const dataFolder = ({ env, options }: Pick<VerbCall, 'env' | 'options'>): string =>
  options.get('data') ?? (env['FAREBOX_DATA'] || './data');

const keyFile = (call: Pick<VerbCall, 'env' | 'options'>): string =>
  call.env['FAREBOX_OPERATOR_KEY_FILE'] || join(dataFolder(call), 'operator.key');

function operatorKey(call: Pick<VerbCall, 'env' | 'options'>): string | undefined {
  const said = call.env['FAREBOX_OPERATOR_KEY'];
  if (said) return said.trim();
  try {
    return readFileSync(keyFile(call), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The first start makes the key, so a missing key often only means that nothing runs yet. */
async function noKey(call: Pick<VerbCall, 'env' | 'options'>, url: string): Promise<CliError> {
  const isThere = await ask(url, '/healthz').then(
    (response) => response.arrayBuffer().then(() => true),
    () => false,
  );
  if (!isThere) return new NotReachable(url);
  return new CliError(
    `There is no operator key: ${keyFile(call)} cannot be read. Set FAREBOX_OPERATOR_KEY, or name the server's data folder with --data.`,
    EXIT.failed,
  );
}

/** What the server said, field by field. Something else on that port may have answered, so nothing is trusted to be there. */
function refusal(url: string, status: number, answer: Record<string, unknown>): CliError {
  const { detail, errors, code } = answer;
  const fields = Array.isArray(errors)
    ? errors.map((one: { pointer?: unknown; message?: unknown }) => `  ${one.pointer}: ${one.message}`)
    : [];
  if (fields.length > 0) return new CliError(`The server refused this:\n${fields.join('\n')}`, EXIT.failed, answer);
  if (typeof detail === 'string')
    return new CliError(`${detail}${code === 'unauthorized' ? ' (FAREBOX_OPERATOR_KEY, --data)' : ''}`, EXIT.failed, answer);
  return new CliError(`What answers at ${url} is no Farebox, or an old one: it said ${status}.`, EXIT.failed, { status });
}
