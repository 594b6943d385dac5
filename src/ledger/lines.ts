import { randomUUID } from 'node:crypto';
import { NO_USAGE } from '../domain/charge.js';
import { sendable } from './event.js';

/**
 * Charge events as `post_lines` takes them: what is a request's own as one record each, and what repeats from request to
 * request (who pays, and the shape: model, upstream, status, prices …) once per batch. Postgres reads a record in a fifth of
 * the time it needs for JSON.
 */
export interface Lines {
  readonly lines: string;
  readonly breakdowns: string;
  /** What stands between two lines, and in none of them. */
  readonly mark: string;
  readonly count: number;
  readonly shapes: string;
  readonly orgs: readonly string[];
  readonly tokens: readonly string[];
  /** For each token the number of its organization's transaction, from 1. */
  readonly txs: readonly number[];
}

/** Whatever is wrong with an event is for Postgres to refuse: it comes out of here as wrong as it went in. */
export function linesOf(events: readonly string[]): Lines {
  const batch = new Batch();
  for (const event of events) {
    const text = event.includes('\\u') ? sendable(event) : event;
    const parts = WRITTEN.exec(text);
    if (parts) addWritten(batch, parts);
    else addOther(batch, text);
  }
  return batch.done();
}

class Batch {
  private readonly lines: string[][] = [];
  private readonly breakdowns: string[][] = [];
  private readonly shapes = new Map<string, number>();
  private readonly places = new Map<string, number>();
  private readonly txOf = new Map<string, number>();
  private readonly orgs: string[] = [];
  private readonly tokens: string[] = [];
  private readonly txs: number[] = [];
  private mark = '\n';

  add(who: number, line: string, breakdown: string): void {
    if (this.mark === '\n' && line.includes('\n')) this.mark = `\n${randomUUID()}\n`;
    this.lines[who - 1]?.push(line);
    this.breakdowns[who - 1]?.push(breakdown);
  }

  shape(members: string): number {
    let place = this.shapes.get(members);
    if (place === undefined) {
      place = this.shapes.size + 1;
      this.shapes.set(members, place);
    }
    return place;
  }

  who(org: string, token: string): number {
    const key = org + token;
    let place = this.places.get(key);
    if (place === undefined) {
      place = this.tokens.push(token);
      this.places.set(key, place);
      const tx = this.txOf.get(org) ?? this.txOf.size + 1;
      this.txOf.set(org, tx);
      this.orgs.push(org);
      this.txs.push(tx);
      this.lines.push([]);
      this.breakdowns.push([]);
    }
    return place;
  }

  /** Lines of one token stand together: their places in the indexes are next to each other, and stay at hand. */
  done(): Lines {
    const { mark, orgs, tokens, txs } = this;
    const inOrder = [...this.places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, place]) => place - 1);
    const lines = inOrder.flatMap((i) => this.lines[i] ?? []);
    const breakdowns = inOrder.flatMap((i) => this.breakdowns[i] ?? []);
    const shapes = `[${[...this.shapes.keys()].map((members) => `{${members}}`).join(',')}]`;
    return {
      ...{ lines: lines.join(mark), breakdowns: breakdowns.join(mark), mark, count: lines.length },
      ...{ shapes, orgs, tokens, txs },
    };
  }
}

const TEXT = String.raw`"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"`;
const WORD = '"[a-z]+"';
const FLAG = '(?:true|false)';
const GIVEN = ['client_request_id', 'end_user', 'agent', 'conversation'] as const;
const TOKENS = ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'output', 'reasoning'] as const;
const MEDIA = ['audio_input', 'audio_output', 'images', 'seconds', 'characters'] as const;
const count = (name: string): string => String.raw`(?:"${name}":(\d+),?)?`;

/**
 * An event letter by letter as the gateway writes it, where members that are 0, false or empty may be missing. It is cut, not
 * parsed, which takes a quarter of the time; what looks different in any way is read as the JSON it is.
 */
const WRITTEN = new RegExp(
  [
    String.raw`^\{"request_id":"req_([0-9a-f]{32})","org_id":"(\w+)","token_id":"(\w+)",`,
    `("model":${TEXT},"endpoint":${TEXT},"stream":${FLAG})`,
    ...GIVEN.map((name) => `(?:,"${name}":(${TEXT}))?`),
    String.raw`(,"served_model":${TEXT},"upstream":${TEXT},"kind":${WORD},"status":${WORD},"http_status":\d+)`,
    String.raw`,"cost":(\d+),"held":(\d+)(,"debt":${FLAG})?(?:,"operator_loss":(\d+))?(,"source":${WORD}),"usage":\{`,
    ...[...TOKENS, ...MEDIA].map(count),
    String.raw`(?:"meters":(\{[^{}\x00-\x1f]*\}))?\}(,"price_version":${TEXT})`,
    String.raw`,"breakdown":(\{"lines":\[[^[\]\x00-\x1f]*\],"times":"[0-9/]+"\})(,"finish_reason":${TEXT})?`,
    String.raw`,"latency_ms":(\d+)(?:,"ttft_ms":(\d+))?(,"flags":\[[^[\]\x00-\x1f]*\])?(,"attempts":\d+)\}$`,
  ].join(''),
);

function addWritten(batch: Batch, parts: readonly (string | undefined)[]): void {
  const [, id = '', org = '', token = '', asked, requestId, endUser, agent, conversation, served, cost, held, debt, loss, ...rest] = parts;
  const [source, input, cached, write5m, write1h, output, reasoning, audioIn, audioOut, images, seconds, characters, ...last] = rest;
  const [meters, prices, breakdown = '', reason = '', latency, ttft, flags = NO_FLAGS, attempts] = last;
  const shape = batch.shape(`${asked}${served}${debt ?? NO_DEBT}${source}${prices}${reason}${flags}${attempts}`);
  const who = batch.who(org, token);
  const line = [
    ...[who, shape, id, timeIn(id), cost, held, loss ?? 0],
    ...[input ?? 0, cached ?? 0, write5m ?? 0, write1h ?? 0, output ?? 0, reasoning ?? 0, audioIn ?? 0, audioOut ?? 0],
    ...[images ?? 0, seconds ?? 0, characters ?? 0, latency, ttft, meters && quoted(meters)],
    ...[requestId && unescaped(requestId), endUser && unescaped(endUser), agent && unescaped(agent)],
    conversation && unescaped(conversation),
  ];
  batch.add(who, `(${line.join(',')})`, breakdown);
}

const NO_DEBT = ',"debt":false';
const NO_FLAGS = ',"flags":[]';

/** Requests carry their time in milliseconds as the first 48 bits of their id. */
const timeIn = (id: string): number => Number.parseInt(id.slice(0, 12), 16);

/** A text as JSON has it is a text as a record has it, unless something in it is escaped. */
const unescaped = (json: string): string => (json.includes('\\') ? quoted(JSON.parse(json) as string) : json);
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Any other JSON that says the same: rows of swept requests and of a replayed journal, and those of older versions. */
function addOther(batch: Batch, text: string): void {
  const event = objectOf(text);
  if (!event) {
    batch.add(batch.who('', ''), 'this is not a charge event', ''); // nor a record: Postgres refuses it, and the row is set aside
    return;
  }
  const { request_id: id, org_id: org, token_id: token, usage, breakdown } = event;
  const counts = typeof usage === 'object' && usage !== null ? { ...NO_COUNTS, ...usage } : {};
  const hex = typeof id === 'string' && /^req_[0-9a-f]{32}$/.test(id) ? id.slice(4) : '';
  const members = SHAPE.filter((name) => event[name] !== undefined).map((name) => `"${name}":${JSON.stringify(event[name])}`);
  const own = [hex === '' ? id : hex, timeIn(hex) || 0, event['cost'], event['held'], event['operator_loss']];
  const used = [...TOKENS, ...MEDIA].map((name) => counts[name]);
  const rest = [event['latency_ms'], event['ttft_ms'], counts['meters'], ...GIVEN.map((name) => event[name])];
  const who = batch.who(String(org ?? ''), String(token ?? ''));
  batch.add(
    who,
    `(${who},${batch.shape(members.join(','))},${[...own, ...used, ...rest].map(cell).join(',')})`,
    breakdown ? JSON.stringify(breakdown) : '',
  );
}

const SHAPE = [
  ...['kind', 'status', 'model', 'served_model', 'endpoint', 'upstream', 'stream', 'http_status', 'debt', 'source'],
  ...['price_version', 'finish_reason', 'flags', 'attempts', 'trace'],
];
type Loose = Readonly<Record<string, unknown>>;
const NO_COUNTS: Loose = { ...NO_USAGE };

function objectOf(text: string): Loose | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { debt: false, operator_loss: 0, flags: [], ...value } : undefined;
  } catch {
    return undefined;
  }
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  return quoted(typeof value === 'object' ? JSON.stringify(value) : String(value));
}
