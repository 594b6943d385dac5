import type { OrgSnapshot, ShardState, StreamEntry } from '../../src/credits/store.js';
import type { OrgId, TokenId } from '../../src/domain/ids.js';
import type { Books } from './books.js';
import { type Answer, lifeOf } from './calls.js';
import { eventOf, orgName, orgsOf, REHOLD_MS, requestName, SHARDS, tokenName, tokensOf } from './cast.js';
import type { Stories } from './stories.js';
import type { Wire } from './wire.js';

export interface WorkerParts {
  readonly wire: Wire;
  readonly books: Books;
  readonly stories: Stories;
  readonly nowMs: () => number;
  /** Somebody noticed that a key of this shard cannot be read: it is reloaded as if it had been lost. */
  readonly isDamaged: (shard: string) => boolean;
}

const BATCH = 12;
const DUE = 1_000;

/** Moves one shard's settled charges into the books, batch after batch, as src/ledger/drain.ts does. */
export class Drain {
  readonly name: string;
  /** What was read and not yet posted. */
  batch: { readonly shard: string; readonly entries: readonly StreamEntry[] } | undefined;
  busy = false;
  private round = 0;
  private readonly parts: WorkerParts;
  private known: Map<string, { epoch: string; cursor: string }> | undefined;

  constructor(name: string, parts: WorkerParts) {
    this.name = name;
    this.parts = parts;
  }

  read(shard: string): void {
    const { wire, books } = this.parts;
    if (this.busy) return;
    if (!this.known) {
      if (books.away) return;
      this.known = new Map(books.cursors);
    }
    this.busy = true;
    const round = ++this.round;
    wire.send(this.name, { verb: 'shards', about: shard, command: null }, (states) => {
      if (round !== this.round) return;
      if (states.kind === 'unavailable') {
        this.stop();
        return;
      }
      const epoch = lifeOf(states.shards.find((one) => one.shard === shard)?.epoch ?? '');
      if (this.known?.get(shard)?.epoch !== epoch) this.known?.set(shard, { epoch, cursor: '' });
      const after = this.known?.get(shard)?.cursor ?? '';
      wire.send(this.name, { verb: 'entries', about: shard, command: { shard, after, limit: BATCH } }, (answer) => {
        if (round !== this.round) return;
        if (answer.kind === 'unavailable' || answer.entries.length === 0) {
          this.stop();
          return;
        }
        this.batch = { shard, entries: answer.entries };
      });
    });
  }

  /** `heard`: false when the books committed and their answer was lost, so that everything comes again. */
  post(heard: boolean): void {
    const { batch } = this;
    const { books, wire } = this.parts;
    if (!batch) return;
    this.batch = undefined;
    if (books.away) {
      this.stop();
      return;
    }
    const posted = books.post(batch.entries);
    if (!heard) {
      this.stop();
      return;
    }
    const round = this.round;
    let left = posted.length;
    let missed = false;
    for (const { orgId, balance, tokens } of posted) {
      const clear = batch.entries.filter((entry) => entry.orgId === orgId);
      const command = { orgId, balance, tokens, clear };
      wire.send(this.name, { verb: 'applied', about: orgName(orgId), command }, (answer) => {
        if (round !== this.round) return;
        left -= 1;
        missed ||= answer.kind === 'unavailable';
        if (left === 0) this.advance(batch, missed);
      });
    }
  }

  private advance(batch: { readonly shard: string; readonly entries: readonly StreamEntry[] }, missed: boolean): void {
    const at = this.known?.get(batch.shard);
    this.busy = false;
    if (missed || !at) return;
    at.cursor = batch.entries.at(-1)?.cursor ?? at.cursor;
    if (this.parts.books.away) {
      this.stop();
      return;
    }
    this.parts.books.cursors.set(batch.shard, { ...at });
  }

  trim(shard: string, keepMs: number): void {
    const at = this.known?.get(shard);
    if (at?.cursor) this.parts.wire.send(this.name, { verb: 'trim', about: shard, command: { shard, ...at, keepMs } }, () => undefined);
  }

  /** Dies, or lost its lease: whatever it knew is forgotten, whatever it sent may still arrive. */
  kill(): void {
    this.parts.wire.orphan(this.name);
    this.stop();
  }

  private stop(): void {
    this.round += 1;
    this.busy = false;
    this.batch = undefined;
    this.known = undefined;
  }
}

/** Reloads one shard after the other from the books, as src/ledger/heal.ts does: all of it first, or serving meanwhile. */
export class Heal {
  readonly name: string;
  phase: 'idle' | 'asking' | 'filling' | 'named' | 'read' | 'loading' | 'loaded' = 'idle';
  private shard: ShardState | undefined;
  private snapshots: readonly OrgSnapshot[] = [];
  private readyMs = 0;
  private round = 0;
  private readonly parts: WorkerParts;

  constructor(name: string, parts: WorkerParts) {
    this.name = name;
    this.parts = parts;
  }

  /** Organizations that were read and not loaded yet. */
  get unloaded(): readonly OrgId[] {
    return this.snapshots.map(({ terms }) => terms.orgId);
  }

  /** Whether the shard is still closed to everybody. */
  get isClosed(): boolean {
    return this.shard?.state === 'filling';
  }

  start(shard: string): void {
    if (this.phase !== 'idle' || this.parts.books.away) return;
    this.look(shard, (state) => {
      if (state.state === 'filling' || (state.state === 'open' && !state.whole)) {
        this.found(state);
        return;
      }
      if (state.state === 'open' && !this.parts.isDamaged(shard)) {
        this.stop();
        return;
      }
      const command = { shard, from: state, to: 'filling' } as const;
      const round = this.round;
      this.parts.wire.send(this.name, { verb: 'transition', about: shard, command }, () => {
        if (round !== this.round) return;
        this.look(shard, (now) => (now.state === 'filling' ? this.found(now) : this.stop()));
      });
    });
  }

  private look(shard: string, found: (state: ShardState) => void): void {
    this.phase = 'asking';
    const round = this.round;
    this.parts.wire.send(this.name, { verb: 'shards', about: shard, command: null }, (answer) => {
      if (round !== this.round) return;
      const state = answer.kind === 'shards' ? answer.shards.find((one) => one.shard === shard) : undefined;
      if (state) found(state);
      else this.stop();
    });
  }

  private found(state: ShardState): void {
    this.shard = state;
    this.phase = 'filling';
  }

  /** Says who is still to be loaded. */
  expect(): void {
    if (this.phase !== 'filling' || !this.shard || !this.isClosed) return;
    const { shard } = this.shard;
    const accounts = orgsOf(shard).map((orgId) => ({ orgId, tokenIds: tokensOf(orgId) }));
    this.ask({ verb: 'expect', about: shard, command: { shard, accounts } }, (answer) => {
      if (answer.kind === 'unavailable') return this.stop();
      this.phase = 'named';
      this.readyMs = this.parts.nowMs() + REHOLD_MS;
    });
  }

  serve(): void {
    if (this.phase !== 'named' || !this.shard || this.parts.nowMs() < this.readyMs) return;
    const from = this.shard;
    this.ask({ verb: 'transition', about: from.shard, command: { shard: from.shard, from, to: 'serving' } }, (answer) => {
      if (answer.kind !== 'moved') return this.stop();
      this.found({ ...from, state: 'open', whole: false });
    });
  }

  /** What the books say now; it is loaded later, when it may be old news. */
  read(): void {
    if (this.phase !== 'filling' || !this.shard) return;
    if (this.parts.books.away) {
      this.stop();
      return;
    }
    this.snapshots = orgsOf(this.shard.shard).map((org) => this.parts.books.snapshot(org));
    this.phase = 'read';
  }

  /** All of them, or this one first. */
  load(first?: OrgId): void {
    if (this.phase !== 'read' || !this.shard) return;
    const { shard, epoch } = this.shard;
    const orgs = this.snapshots.filter(({ terms }) => first === undefined || terms.orgId === first);
    this.ask({ verb: 'load', about: shard, command: { shard, orgs, epoch } }, (answer) => {
      if (answer.kind === 'unavailable') return this.stop();
      this.snapshots = this.snapshots.filter((one) => !orgs.includes(one));
      this.phase = this.snapshots.length > 0 ? 'read' : 'loaded';
      if (this.isClosed) this.readyMs = this.parts.nowMs() + REHOLD_MS;
    });
  }

  open(): void {
    if (this.phase !== 'loaded' || !this.shard || this.parts.nowMs() < this.readyMs) return;
    const from = this.shard;
    this.ask({ verb: 'transition', about: from.shard, command: { shard: from.shard, from, to: 'open' } }, () => this.stop());
  }

  kill(): void {
    this.parts.wire.orphan(this.name);
    this.stop();
  }

  private ask(question: Parameters<Wire['send']>[1], hear: (answer: Answer) => void): void {
    this.phase = question.verb === 'load' ? 'loading' : 'asking';
    const round = this.round;
    this.parts.wire.send(this.name, question, (answer) => {
      if (round === this.round) hear(answer);
    });
  }

  private stop(): void {
    this.round += 1;
    this.phase = 'idle';
    this.shard = undefined;
    this.snapshots = [];
  }
}

/** Ends requests whose owner vanished, as src/ledger/sweep.ts does; needs no leader and keeps nothing. */
export function sweep({ wire, stories }: WorkerParts, shard: string): void {
  if (!SHARDS.includes(shard)) return;
  wire.send('sweep', { verb: 'due', about: shard, command: { shard, limit: DUE } }, (answer) => {
    if (answer.kind === 'unavailable') return;
    for (const { requestId, orgId, tokenId, floor } of answer.holds) {
      stories.of(requestId).floorMax = Math.max(stories.of(requestId).floorMax, floor);
      const facts = { requestId, orgId, tokenId };
      const command = { ...facts, kind: 'floor', cost: floor, event: eventOf(facts, 'floor', floor), ifDue: true } as const;
      wire.send('sweep', { verb: 'settle', about: requestName(requestId), command }, () => undefined);
    }
  });
}

/** Tells the store what an organization may do and has, then marks it as told, as src/ledger/project.ts does. */
export function projectOrg({ wire, books }: WorkerParts, orgId: OrgId): void {
  if (books.away) return;
  const { terms, balance } = books.snapshot(orgId);
  const about = orgName(orgId);
  wire.send('project', { verb: 'project', about, command: { org: terms } }, (told) => {
    if (told.kind === 'unavailable') return;
    wire.send('project', { verb: 'applied', about, command: { orgId, balance, tokens: [], clear: [] } }, (applied) => {
      if (applied.kind === 'unavailable' || books.away) return;
      const wallet = books.wallet(orgId);
      if (wallet.untold !== null && wallet.untold <= balance.balanceVersion) wallet.untold = null;
      wallet.toldTerms = Math.max(wallet.toldTerms, terms.version);
    });
  });
}

export function projectToken({ wire, books }: WorkerParts, tokenId: TokenId): void {
  if (books.away) return;
  const { terms } = books.token(tokenId);
  wire.send('project', { verb: 'project', about: tokenName(tokenId), command: { token: terms } }, (told) => {
    if (told.kind === 'unavailable' || books.away) return;
    const row = books.token(tokenId);
    row.toldTerms = Math.max(row.toldTerms, terms.version);
  });
}

/** Tells whatever a crash left untold. */
export function repair(parts: WorkerParts): void {
  const { books } = parts;
  if (books.away) return;
  for (const [orgId, wallet] of books.wallets) {
    if (wallet.untold !== null || wallet.toldTerms < wallet.terms.version) projectOrg(parts, orgId);
  }
  for (const [tokenId, row] of books.tokens) if (row.toldTerms < row.terms.version) projectToken(parts, tokenId);
}
