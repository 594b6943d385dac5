import type { UpstreamSettings } from '../domain/settings.js';
import { baseUrlProblem } from './addresses.js';
import type { Cursor } from './cursor.js';
import { or, readBoolean, readDurationMs, readText, readWhole } from './scalars.js';

/** The upstreams in the order of the file; the built-in demo model comes last unless it is switched off. */
export function readUpstreams(at: Cursor, demo: boolean): readonly UpstreamSettings[] {
  const upstreams = at.entries('a group of upstreams, each under a name of its own').map(([name, value]) => readUpstream(name, value));
  return demo ? [...upstreams, DEMO] : upstreams;
}

const DEFAULT_TIMEOUTS = { connectMs: 5_000, firstByteMs: 120_000, idleMs: 120_000, totalMs: 3_600_000 } as const;

const DEMO: UpstreamSettings = {
  name: 'demo',
  baseUrl: 'http://demo.invalid/v1',
  apiKey: null,
  headers: {},
  models: [{ pattern: 'demo', as: null }],
  priority: 1000,
  timeouts: DEFAULT_TIMEOUTS,
  retries: 0,
  concurrency: 0,
  includeUsage: true,
  builtin: true,
};

const KEYS = ['base_url', 'api_key', 'headers', 'models', 'priority', 'timeouts', 'retries', 'concurrency', 'include_usage'] as const;

function readUpstream(name: string, at: Cursor): UpstreamSettings {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    at.wrong('a name of letters, digits, dots, hyphens and underscores', { found: `the name "${name.slice(0, 64)}"` });
  const field = at.fields(KEYS);
  return {
    name,
    baseUrl: readBaseUrl(field.base_url, at),
    apiKey: or(field.api_key, readKey, null),
    headers: readHeaders(field.headers),
    models: readModels(field.models, at),
    priority: or(field.priority, (here) => readWhole(here, { min: 0, max: 1000 }), 0),
    timeouts: readTimeouts(field.timeouts),
    retries: or(field.retries, (here) => readWhole(here, { min: 0, max: 5 }), 1),
    concurrency: or(field.concurrency, (here) => readWhole(here, { min: 0, max: 1_000_000 }), 0),
    includeUsage: or(field.include_usage, readBoolean, true),
    builtin: false,
  };
}

function readBaseUrl(at: Cursor, upstream: Cursor): string {
  const allowed = 'an http or https URL like https://api.openai.com/v1, without credentials, query or fragment';
  if (!at.exists) {
    if (upstream.kind === 'map') at.wrong(allowed, { found: 'no base_url' });
    return '';
  }
  const text = readText(at, { max: 2048, allowed });
  if (text === undefined) return '';
  const problem = baseUrlProblem(text);
  if (problem) at.wrong(allowed, { found: problem });
  return text.replace(/\/+$/, '');
}

function readKey(at: Cursor): string | undefined {
  const found = at.scalar('a key, best as ${NAME} from the environment');
  if (!found) return undefined;
  const isHeaderSafe = /^[\x21-\x7e]{1,4096}$/.test(found.text);
  if (!isHeaderSafe) return at.wrong('a key of printable characters without spaces', { secret: true });
  if (!found.filled)
    at.wrong('${NAME} from the environment or ${file:/path}: a key in this file ends up in backups and chats', {
      found: 'a key written out',
      severity: 'warning',
    });
  return found.text;
}

const OURS: ReadonlySet<string> = new Set(
  'host content-length transfer-encoding connection upgrade te trailer keep-alive expect content-type accept-encoding'.split(' '),
);

function readHeaders(at: Cursor): Readonly<Record<string, string>> {
  const headers = new Map<string, string>();
  for (const [name, value] of at.entries('a group of header names with values')) {
    if (!/^[A-Za-z0-9-]{1,64}$/.test(name) || OURS.has(name.toLowerCase())) {
      value.wrong('the name of a header that is not part of the framing', { found: `the header "${name.slice(0, 64)}"` });
    }
    const found = value.scalar('the text of a header');
    if (found && !/^[\x20-\x7e]{0,4096}$/.test(found.text)) value.wrong('printable characters on one line', { secret: true });
    else if (found) headers.set(name.toLowerCase(), found.text);
  }
  return Object.fromEntries(headers);
}

export const PATTERN = /^[^\s*"'\\]{0,255}\*?$/;
const PATTERN_ALLOWED = 'a model name, or a pattern with one * at its end, in quotes';

function readModels(at: Cursor, upstream: Cursor): UpstreamSettings['models'] {
  const allowed = 'a list of model names, patterns like "gpt-*", or { name, as }';
  if (!at.exists) {
    if (upstream.kind === 'map') at.wrong(allowed, { found: 'no models' });
    return [];
  }
  const items = at.items(allowed);
  if (at.kind === 'list' && items.length === 0) at.wrong(allowed, { found: 'an empty list' });
  return items.flatMap((item) => readModel(item) ?? []);
}

function readModel(at: Cursor): UpstreamSettings['models'][number] | undefined {
  const pattern = { max: 256, pattern: PATTERN, allowed: PATTERN_ALLOWED };
  if (at.kind !== 'map') {
    const name = readText(at, pattern);
    return name === undefined ? undefined : { pattern: name, as: null };
  }
  const field = at.fields(['name', 'as']);
  const name = field.name.exists ? readText(field.name, pattern) : field.name.wrong(PATTERN_ALLOWED, { found: 'no name' });
  const as = or(
    field.as,
    (here) => readText(here, { max: 256, pattern: /^[^\s*]+$/, allowed: 'the name the upstream knows the model by' }),
    null,
  );
  return name === undefined ? undefined : { pattern: name, as };
}

function readTimeouts(at: Cursor): UpstreamSettings['timeouts'] {
  const field = at.fields(['connect', 'first_byte', 'idle', 'total']);
  const time = (here: Cursor) => readDurationMs(here, { min: 100, max: 24 * 3_600_000 });
  return {
    connectMs: or(field.connect, time, DEFAULT_TIMEOUTS.connectMs),
    firstByteMs: or(field.first_byte, time, DEFAULT_TIMEOUTS.firstByteMs),
    idleMs: or(field.idle, time, DEFAULT_TIMEOUTS.idleMs),
    totalMs: or(field.total, time, DEFAULT_TIMEOUTS.totalMs),
  };
}
