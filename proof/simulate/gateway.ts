import type { SettleCommand } from '../../src/credits/store.js';
import { type OrgId, type RequestId, shardOf, type TokenId } from '../../src/domain/ids.js';
import type { SettledLine } from '../../src/gateway/journal-lines.js';
import { type Answers, lifeOf } from './calls.js';
import { digestOf, eventOf, type Facts, LEASE_MS, micro, orgName, ownerOf, requestName, SHARDS } from './cast.js';
import { SimulatedJournal } from './journal.js';
import type { Stories } from './stories.js';
import type { Wire } from './wire.js';

export interface Running extends Facts {
  amount: number;
  floor: number;
  /** `asking`: the hold is on its way. */
  state: 'asking' | 'running';
  tries: number;
}

interface Waiting {
  readonly command: SettleCommand;
  inFlight: boolean;
}

/** Rules a gateway could have and must not: planted to see that they are found. */
export type Habit = 'confirms-what-it-did-not-ask' | 'never-says-it-again';

const STALE_MAX = 4;
/** Settlements asked about at a time. */
const ASK_AT_ONCE = 3;

export interface GatewayParts {
  readonly wire: Wire;
  readonly stories: Stories;
  readonly scale: number;
  readonly habits: ReadonlySet<Habit>;
}

/** One gateway process: admission, lease, outbox and recovery by the rules of src/gateway, without sockets and timers. */
export class Gateway {
  up = true;
  readonly name: string;
  readonly running = new Map<RequestId, Running>();
  readonly waiting = new Map<RequestId, Waiting>();
  /** Whose last line is to be said again, one in each step: meanwhile everything else goes on. */
  readonly again = new Set<RequestId>();
  readonly journal = new SimulatedJournal();
  private readonly parts: GatewayParts;
  private taken = new Map<RequestId, string>();
  private epochs = new Map<string, string>();
  private versions = new Map<TokenId, { token: number; org: number }>();
  private asked = 0;

  constructor(name: string, parts: GatewayParts) {
    this.name = name;
    this.parts = parts;
  }

  ask(requestId: RequestId, tokenId: TokenId, amount: number): void {
    const orgId = ownerOf(tokenId);
    this.parts.stories.begin(requestId, orgId, tokenId);
    const request: Running = { requestId, orgId, tokenId, amount, floor: 0, state: 'asking', tries: 0 };
    this.running.set(requestId, request);
    this.hold(request);
  }

  private hold(request: Running): void {
    const { requestId, orgId, tokenId, amount } = request;
    const versions = this.versions.get(tokenId) ?? { token: 1, org: 1 };
    const command = {
      ...{ requestId, orgId, tokenId, digest: digestOf(tokenId), amount: micro(amount), tokens: 1, idempotencyKey: null },
      ...{ tokenVersion: versions.token, orgVersion: versions.org, leaseMs: this.lease(), note: eventOf(request, 'floor', 0) },
    };
    this.parts.wire.send(this.name, { verb: 'hold', about: requestName(requestId), command }, (answer) => this.held(request, answer));
  }

  private held(request: Running, answer: Answers['hold']): void {
    const { requestId, orgId, tokenId } = request;
    if (answer.kind === 'held') {
      request.state = 'running';
      request.amount = answer.amount;
      this.keep(request);
      return;
    }
    if (answer.kind === 'stale' && ++request.tries < STALE_MAX) {
      this.versions.set(tokenId, { token: answer.token.version, org: answer.org.version });
      this.hold(request);
      return;
    }
    this.running.delete(requestId);
    if (answer.kind !== 'unavailable' || !answer.maybeDone) return;
    // A hold that seems to have failed may stand all the same, so it is given back by its id.
    this.parts.stories.of(requestId).gaveBack = true;
    this.send({ requestId, orgId, tokenId, kind: 'final', cost: micro(0), event: null });
  }

  /** The heartbeat: a higher floor, a new lease, and perhaps a larger hold. */
  beat(id: RequestId, floor: number, amount: number): void {
    const request = this.running.get(id);
    if (request?.state !== 'running') return;
    request.floor = Math.max(request.floor, floor);
    const { stories, wire } = this.parts;
    stories.of(id).floorMax = Math.max(stories.of(id).floorMax, request.floor);
    const command = { ...this.leaseOf(request), amount: micro(Math.max(amount, request.amount)) };
    wire.send(this.name, { verb: 'extend', about: requestName(id), command }, (answer) => {
      if (answer.kind === 'extended') request.amount = answer.amount;
      if (answer.kind === 'gone') this.rehold(request);
    });
  }

  /** A checkpoint of a long stream: its floor goes to the disk. */
  checkpoint(id: RequestId): void {
    const request = this.running.get(id);
    if (request?.state === 'running') this.keep(request);
  }

  end(id: RequestId, cost: number): void {
    const request = this.running.get(id);
    if (request?.state !== 'running') return;
    this.running.delete(id);
    this.parts.stories.of(id).final = { cost, durable: true };
    const { requestId, orgId, tokenId } = request;
    this.send({ requestId, orgId, tokenId, kind: 'final', cost: micro(cost), event: eventOf(request, 'final', cost) });
  }

  /** The outbox's own clock: what the store did not take is sent again. */
  retry(id: RequestId): void {
    const waiting = this.waiting.get(id);
    if (waiting && !waiting.inFlight) this.attempt(waiting);
  }

  /** Recovery notices that the store was lost: everything only we know is to be said again. */
  watch(): void {
    this.parts.wire.send(this.name, { verb: 'shards', about: 'all', command: null }, (answer) => {
      if (answer.kind === 'unavailable') return;
      for (const { shard, state, epoch } of answer.shards) {
        const before = this.epochs.get(shard);
        if (!SHARDS.includes(shard) || state === 'absent' || lifeOf(epoch) === before) continue;
        this.epochs.set(shard, lifeOf(epoch));
        if (before === undefined) continue;
        for (const request of this.running.values()) {
          if (shardOf(request.orgId) === shard && request.state === 'running') this.rehold(request);
        }
        for (const line of this.journal.unconfirmed()) if (shardOf(line.orgId) === shard) this.again.add(line.requestId);
      }
    });
  }

  /** Says the next of what is to be said again, unless it was booked, or said, meanwhile. */
  say(): void {
    const [id] = this.again;
    if (id === undefined) return;
    this.again.delete(id);
    const { settled, held } = this.journal.open(id);
    if (settled) this.enqueue(settleCommand(settled));
    else if (held) {
      const { requestId, orgId, tokenId, floor, note } = held;
      this.send({ requestId, orgId, tokenId, kind: 'floor', cost: floor, event: note });
    }
  }

  /**
   * Which settlements Postgres has: of those taken before we asked, under the epoch in which they were taken, else again. A
   * few at a time; the others have their turn when they are asked about next.
   */
  confirm(orgId: OrgId): void {
    const unasked = this.parts.habits.has('confirms-what-it-did-not-ask');
    const all = this.journal.unconfirmed().filter((line) => line.orgId === orgId && (unasked || this.taken.has(line.requestId)));
    const lines = Array.from({ length: Math.min(ASK_AT_ONCE, all.length) }, (_, i) => all[(this.asked + i) % all.length] as SettledLine);
    this.asked += lines.length;
    if (lines.length === 0) return;
    const ids = lines.map(({ requestId }) => requestId);
    const asked = new Map(this.taken);
    this.parts.wire.send(this.name, { verb: 'pending', about: orgName(orgId), command: { orgId, ids } }, (answer) => {
      if (answer.kind === 'unavailable') return;
      const pending = new Set(answer.ids);
      for (const line of lines) {
        const under = this.taken.get(line.requestId);
        if (under === undefined || (!unasked && under !== asked.get(line.requestId))) continue;
        const sameLife = lifeOf(under) === lifeOf(answer.epoch);
        if (!sameLife && this.parts.habits.has('never-says-it-again')) continue;
        if (sameLife && pending.has(line.requestId)) continue;
        if (!sameLife) {
          this.again.add(line.requestId);
          continue;
        }
        this.taken.delete(line.requestId);
        this.journal.confirmed(line.requestId);
      }
    });
  }

  crash(torn: boolean, dropped: boolean): void {
    this.up = false;
    this.parts.wire.orphan(this.name);
    const lost = this.journal.crash(torn, dropped);
    this.running.clear();
    this.waiting.clear();
    this.again.clear();
    this.taken = new Map();
    this.epochs = new Map();
    this.versions = new Map();
    const story = lost && this.parts.stories.of(lost);
    if (!story) return;
    const { settled, held } = this.journal.last(lost);
    if (story.final && !settled) story.final.durable = false;
    story.kept = held?.floor ?? settled?.cost;
  }

  boot(): void {
    this.up = true;
    const { settled, held } = this.journal.replay();
    for (const { requestId } of [...settled, ...held]) this.again.add(requestId);
  }

  private keep(request: Running): void {
    const { requestId, orgId, tokenId, amount, floor } = request;
    const note = eventOf(request, 'floor', floor);
    this.journal.held({ requestId, orgId, tokenId, amount: micro(amount), floor: micro(floor), note });
    const story = this.parts.stories.of(requestId);
    story.kept = Math.max(story.kept ?? 0, floor);
  }

  private rehold(request: Running): void {
    if (!this.running.has(request.requestId)) return;
    const about = requestName(request.requestId);
    this.parts.wire.send(this.name, { verb: 'rehold', about, command: this.leaseOf(request) }, () => undefined);
  }

  private send(command: SettleCommand): void {
    const { requestId, orgId, tokenId, cost, event } = command;
    if (event !== null) this.journal.settled({ requestId, orgId, tokenId, cost, event });
    this.enqueue(command);
  }

  private enqueue(command: SettleCommand): void {
    this.again.delete(command.requestId);
    if (this.waiting.has(command.requestId)) return;
    this.taken.delete(command.requestId);
    const waiting = { command, inFlight: false };
    this.waiting.set(command.requestId, waiting);
    this.attempt(waiting);
  }

  private attempt(waiting: Waiting): void {
    waiting.inFlight = true;
    const { command } = waiting;
    this.parts.wire.send(this.name, { verb: 'settle', about: requestName(command.requestId), command }, (answer) => {
      waiting.inFlight = false;
      if (answer.kind !== 'settled') return;
      this.waiting.delete(command.requestId);
      if (command.event !== null) this.taken.set(command.requestId, answer.epoch);
    });
  }

  private leaseOf(request: Running) {
    const { requestId, orgId, tokenId, amount, floor } = request;
    const note = eventOf(request, 'floor', floor);
    return { requestId, orgId, tokenId, amount: micro(amount), floor: micro(floor), leaseMs: this.lease(), note };
  }

  private lease(): number {
    return LEASE_MS * this.parts.scale;
  }
}

function settleCommand({ requestId, orgId, tokenId, cost, event }: SettledLine): SettleCommand {
  const kind = event.includes('"kind":"floor"') ? 'floor' : 'final';
  return { requestId, orgId, tokenId, kind, cost, event };
}
