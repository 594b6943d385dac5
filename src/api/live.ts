import type { OrgId } from '../domain/ids.js';
import type { LiveState } from '../usage/liveState.js';
import type { UsageTick } from '../usage/tick.js';

/** One thing that happened. `seq` only ever grows, across restarts too, as long as the clock does not go back. */
export interface LiveEvent {
  readonly seq: number;
  readonly type: string;
  readonly data: unknown;
}

/** What the drain has booked: the event as the gateway wrote it. */
export interface Booked {
  readonly orgId: OrgId;
  readonly event: string;
}

/** What of a wallet is told; the whole of it is in `deps.ts`. */
export interface WalletSeen {
  readonly booked: number;
  readonly monthSpent: number;
  readonly monthLimit: number | null;
  readonly version: number;
  readonly hot: { readonly held: number; readonly pending: number } | null;
}

export interface LiveParts {
  wallet(orgId: OrgId): Promise<WalletSeen | undefined>;
  state(orgId: OrgId): Promise<LiveState | undefined>;
  /** From the sums of days, so it is asked for less often than the wallet. */
  tick(orgId: OrgId): Promise<UsageTick | undefined>;
  /** How amounts are shown. */
  amount(micro: number): unknown;
  nowMs(): number;
  readonly pollMs?: number;
  readonly tickMs?: number;
}

/** Events of organizations that somebody watches. Nothing is read, kept or computed for the others. */
export interface LiveHub {
  /** Told by the drain of this process. Where another process drains, balances still arrive, from looking every few seconds. */
  booked(batch: readonly Booked[]): void;
  /** Null when too many are watching already. */
  watch(orgId: OrgId): Watch | null;
  /** Who is watching now. */
  readonly watchers: number;
}

export interface Watch {
  /** Events after `seq`; `missed` when some of them are no longer kept. */
  after(seq: number): { readonly events: readonly LiveEvent[]; readonly missed: boolean };
  /** The latest of each kind that is a state. */
  states(): readonly LiveEvent[];
  /** The number of the newest event, 0 before the first. */
  latest(): number;
  /** Resolves when there is something new, or after this long. */
  changed(ms: number): Promise<void>;
  /** Resolves when the first look was taken. */
  readonly ready: Promise<void>;
  end(): void;
  readonly isOver: boolean;
}

const KEPT = 512;
const WATCHERS_MAX = 2_000;
const WATCHERS_PER_ORG_MAX = 100;
const REQUESTS_PER_SECOND = 20;
/** Watched no longer, a channel still remembers this long, so that a reconnect misses nothing. */
const LINGER_MS = 60_000;
const COALESCE_MS = 250;
const TICK_MS = 5_000;

interface Channel {
  readonly events: LiveEvent[];
  readonly states: Map<string, LiveEvent & { readonly text: string }>;
  readonly wake: Set<() => void>;
  forgotten: number;
  watchers: number;
  version: number;
  /** The version that was last summed up, and when. */
  tickVersion: number;
  tickedAtMs: number;
  second: number;
  inSecond: number;
  skipped: number;
  isDirty: boolean;
  touch: () => void;
  readonly ready: Promise<void>;
}

export function createLiveHub(parts: LiveParts): LiveHub {
  const channels = new Map<OrgId, Channel>();
  const pollMs = parts.pollMs ?? 2_000;
  let watchers = 0;
  const voice = createVoice(parts);

  const run = async (orgId: OrgId, channel: Channel, isReady: () => void): Promise<void> => {
    let idleSince = parts.nowMs();
    while (channel.watchers > 0 || parts.nowMs() - idleSince < LINGER_MS) {
      if (channel.watchers > 0) {
        idleSince = parts.nowMs();
        channel.isDirty = false;
        // A look that failed is taken again; what was seen last still stands.
        await look({ parts, voice, orgId, channel }).catch(() => undefined);
        isReady();
      }
      await pause(COALESCE_MS);
      if (!channel.isDirty) await pause(pollMs, channel);
    }
    channels.delete(orgId);
  };

  const open = (orgId: OrgId): Channel => {
    const { channel, isReady } = freshChannel(voice.newest());
    channels.set(orgId, channel);
    channel.watchers = 1;
    void run(orgId, channel, isReady);
    channel.watchers = 0;
    return channel;
  };

  return {
    booked: (batch) => {
      for (const { orgId, event } of batch) {
        const channel = channels.get(orgId);
        if (!channel) continue;
        channel.isDirty = true;
        channel.touch();
        if (isSampled(channel, parts.nowMs())) voice.say(channel, 'request.settled', settledOf(parts, event));
        else channel.skipped += 1;
      }
    },
    watch: (orgId) => {
      const channel = channels.get(orgId) ?? (watchers < WATCHERS_MAX ? open(orgId) : undefined);
      if (!channel || watchers >= WATCHERS_MAX || channel.watchers >= WATCHERS_PER_ORG_MAX) return null;
      watchers += 1;
      channel.watchers += 1;
      channel.touch();
      return watchOf(channel, () => {
        watchers -= 1;
        channel.watchers -= 1;
      });
    },
    get watchers() {
      return watchers;
    },
  };
}

interface Voice {
  say(channel: Channel, type: string, data: object): LiveEvent;
  /** Says it only when something in `data` is different from the last time. */
  state(channel: Channel, key: string, type: string, data: object, also?: object): void;
  /** No event that was ever said here has a higher number. */
  newest(): number;
}

function createVoice(parts: LiveParts): Voice {
  let lastSeq = 0;
  const say: Voice['say'] = (channel, type, data) => {
    lastSeq = Math.max(lastSeq + 1, parts.nowMs() * 1_000);
    const event = { seq: lastSeq, type, data };
    channel.events.push(event);
    if (channel.events.length > KEPT) channel.forgotten = channel.events.shift()?.seq ?? 0;
    for (const wake of [...channel.wake]) wake();
    return event;
  };
  return {
    say,
    state: (channel, key, type, data, also = {}) => {
      const text = JSON.stringify(data);
      if (channel.states.get(key)?.text !== text) channel.states.set(key, { ...say(channel, type, { ...data, ...also }), text });
    },
    newest: () => Math.max(lastSeq, parts.nowMs() * 1_000 - 1),
  };
}

/** Events before somebody watched are unknown: whoever asks for older ones has missed some. */
function freshChannel(forgotten: number): { readonly channel: Channel; readonly isReady: () => void } {
  let isReady = (): void => undefined;
  const ready = new Promise<void>((done) => {
    isReady = done;
  });
  const counts = { forgotten, watchers: 0, version: 0, tickVersion: -1, tickedAtMs: 0, second: 0, inSecond: 0, skipped: 0, isDirty: false };
  return { channel: { ...counts, events: [], states: new Map(), wake: new Set(), touch: () => undefined, ready }, isReady };
}

interface Look {
  readonly parts: LiveParts;
  readonly voice: Voice;
  readonly orgId: OrgId;
  readonly channel: Channel;
}

async function look({ parts, voice, orgId, channel }: Look): Promise<void> {
  const [wallet, state] = await Promise.all([parts.wallet(orgId), parts.state(orgId)]);
  if (!wallet || !state) return;
  const as_of = new Date(parts.nowMs()).toISOString();
  if (wallet.version >= channel.version) {
    channel.version = wallet.version;
    voice.state(channel, 'balance', 'balance', balanceOf(parts, wallet), { as_of });
    voice.state(channel, 'limit', 'limit.state', limitOf(parts, wallet, state), { as_of });
    await tick({ parts, voice, orgId, channel });
  }
  for (const [token_id, is] of Object.entries(state.tokens)) voice.state(channel, token_id, 'token.state', { token_id, state: is });
  if (channel.skipped > 0) voice.say(channel, 'requests.skipped', { count: channel.skipped });
  channel.skipped = 0;
}

/** What the month adds up to moves with the wallet; a look too early is made up for by one of the next. */
async function tick({ parts, voice, orgId, channel }: Look): Promise<void> {
  const nowMs = parts.nowMs();
  if (channel.version === channel.tickVersion || nowMs - channel.tickedAtMs < (parts.tickMs ?? TICK_MS)) return;
  const version = channel.version;
  const month = await parts.tick(orgId);
  if (!month) return;
  Object.assign(channel, { tickVersion: version, tickedAtMs: nowMs });
  const projected = month.projected === null ? null : parts.amount(month.projected);
  const data = { month: month.month, used: parts.amount(month.used), projected };
  voice.state(channel, 'usage', 'usage.tick', data, { aggregated_at: new Date(nowMs).toISOString() });
}

function watchOf(channel: Channel, leave: () => void): Watch {
  let isOver = false;
  const wakes = new Set<() => void>();
  return {
    ready: channel.ready,
    get isOver() {
      return isOver;
    },
    after: (seq) => ({ events: channel.events.filter((event) => event.seq > seq), missed: seq < channel.forgotten }),
    latest: () => channel.events.at(-1)?.seq ?? channel.forgotten,
    states: () => [...channel.states.values()].sort((a, b) => a.seq - b.seq),
    changed: (ms) =>
      new Promise((done) => {
        if (isOver) return done();
        const timer = setTimeout(wake, ms);
        channel.wake.add(wake);
        wakes.add(wake);
        function wake(): void {
          clearTimeout(timer);
          channel.wake.delete(wake);
          wakes.delete(wake);
          done();
        }
      }),
    end: () => {
      if (isOver) return;
      isOver = true;
      for (const wake of [...wakes]) wake();
      leave();
    },
  };
}

/** At most so many requests a second, one by one; the others as a count. */
function isSampled(channel: Channel, nowMs: number): boolean {
  const second = Math.floor(nowMs / 1_000);
  if (second !== channel.second) Object.assign(channel, { second, inSecond: 0 });
  channel.inSecond += 1;
  return channel.inSecond <= REQUESTS_PER_SECOND;
}

function balanceOf({ amount }: LiveParts, wallet: WalletSeen): object {
  const { held, pending } = wallet.hot ?? { held: 0, pending: 0 };
  const available = amount(wallet.booked - pending - held);
  return { available, in_flight: amount(held), pending: amount(pending), live: wallet.hot !== null, seq: wallet.version };
}

function limitOf({ amount }: LiveParts, wallet: WalletSeen, { alert_threshold: alert }: LiveState): object {
  const used = wallet.monthSpent + (wallet.hot?.pending ?? 0);
  const limit = wallet.monthLimit;
  const state = limit !== null && used >= limit ? 'limited' : alert !== null && used > alert ? 'alert' : 'ok';
  const orNull = (micro: number | null): unknown => (micro === null ? null : amount(micro));
  return { state, used: amount(used), alert_threshold: orNull(alert), allowed_limit: orNull(limit) };
}

const SETTLED = ['request_id', 'token_id', 'kind', 'status', 'model', 'endpoint', 'stream', 'http_status', 'debt', 'agent', 'conversation'];

function settledOf({ amount }: LiveParts, text: string): object {
  const event = JSON.parse(text) as Record<string, unknown>;
  const usage = event['usage'] as { input?: number; output?: number } | undefined;
  const told = Object.fromEntries(SETTLED.map((name) => [name, event[name] ?? null]));
  return { ...told, input: usage?.input ?? 0, output: usage?.output ?? 0, charged: amount(Number(event['cost'])) };
}

function pause(ms: number, until?: Channel): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    timer.unref();
    if (until)
      until.touch = () => {
        clearTimeout(timer);
        done();
      };
  });
}
