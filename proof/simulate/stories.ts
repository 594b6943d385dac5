import type { OrgId, RequestId, TokenId } from '../../src/domain/ids.js';
import type { Books } from './books.js';
import type { Answer, Call } from './calls.js';
import { requestName } from './cast.js';
import { Violation } from './violation.js';

/** What was really said about each request, by anybody, ever: the bank's own film of the fare box. */
export interface Story {
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  /** The store has admitted it, in any life of the data. */
  admitted: boolean;
  /** Set aside by the store in the life of the data it was admitted in, until somebody ended it. */
  open: number;
  /** The join of every charge the store took. */
  taken: { kind: 'floor' | 'final'; cost: number } | undefined;
  /** The final its gateway said; `durable` once it cannot be torn from the journal. */
  final: { readonly cost: number; durable: boolean } | undefined;
  /** The floor its gateway has on disk; undefined: the disk does not know this request. */
  kept: number | undefined;
  floorMax: number;
  gaveBack: boolean;
}

export class Stories {
  readonly all = new Map<RequestId, Story>();
  /** Not booked as final yet, by organization. */
  readonly live = new Map<OrgId, Set<RequestId>>();

  begin(id: RequestId, orgId: OrgId, tokenId: TokenId): Story {
    const story: Story = {
      ...{ orgId, tokenId, admitted: false, open: 0, taken: undefined, final: undefined },
      ...{ kept: undefined, floorMax: 0, gaveBack: false },
    };
    this.all.set(id, story);
    const live = this.live.get(orgId) ?? new Set();
    this.live.set(orgId, live.add(id));
    return story;
  }

  of(id: RequestId): Story {
    const story = this.all.get(id);
    if (!story) throw new Violation('no surprise', `nobody ever asked for ${requestName(id)}`);
    return story;
  }

  /** What an answer of the store says about requests. */
  note({ verb, command }: Call, answer: Answer): void {
    if (verb === 'hold' && answer.kind === 'held' && 'amount' in answer) {
      const story = this.of(command.requestId);
      story.admitted = true;
      story.open = Math.max(story.open, answer.amount);
    }
    if (verb === 'rehold' && answer.kind === 'held') {
      const story = this.of(command.requestId);
      story.open = Math.max(story.open, command.amount);
      story.floorMax = Math.max(story.floorMax, command.floor);
    }
    if (verb === 'extend' && (answer.kind === 'extended' || answer.kind === 'short')) {
      const story = this.of(command.requestId);
      if ('amount' in answer) story.open = Math.max(story.open, answer.amount);
      story.floorMax = Math.max(story.floorMax, command.floor);
    }
    if (verb !== 'settle' || answer.kind !== 'settled') return;
    const story = this.of(command.requestId);
    story.open = 0;
    if (command.event === null) return;
    const { taken } = story;
    const wins = !taken || (taken.kind === 'floor' && (command.kind === 'final' || command.cost > taken.cost));
    if (wins) story.taken = { kind: command.kind, cost: command.cost };
  }

  /** What everything admitted may still cost beyond what is booked. */
  owed(orgId: OrgId, books: Books): number {
    let sum = 0;
    for (const id of this.live.get(orgId) ?? []) {
      const { open, taken } = this.of(id);
      const booked = books.rows.get(id);
      if (booked?.kind === 'final') {
        this.live.get(orgId)?.delete(id);
        continue;
      }
      sum += Math.max(0, Math.max(open, taken?.cost ?? 0) - (booked?.cost ?? 0));
    }
    return sum;
  }

  /** At rest: every request is booked exactly once, with the join of everything said about it. */
  verify(books: Books, lossless: boolean): void {
    for (const id of books.rows.keys()) this.of(id);
    for (const [id, story] of this.all) {
      const row = books.rows.get(id);
      const found = row ? `${row.kind} ${row.cost}` : 'nothing';
      const wrong = (expected: string): never => {
        throw new Violation('booked once, with all that was said', `${requestName(id)} is booked as ${found}, expected ${expected}`);
      };
      if (row && (row.orgId !== story.orgId || row.tokenId !== story.tokenId)) wrong(`to be of ${story.orgId} ${story.tokenId}`);
      if (lossless) {
        const { taken } = story;
        if (row?.kind !== taken?.kind || row?.cost !== taken?.cost) wrong(taken ? `${taken.kind} ${taken.cost}` : 'nothing');
      }
      const { final } = story;
      if (final?.durable && (row?.kind !== 'final' || row.cost !== final.cost)) wrong(`final ${final.cost}`);
      if (row?.kind === 'final' && row.cost !== final?.cost) wrong(final ? `final ${final.cost}` : 'no final');
      if (row?.kind === 'floor' && row.cost > story.floorMax) wrong(`a floor of at most ${story.floorMax}`);
      if (!story.admitted && row && row.cost > 0) wrong('nothing: it was never admitted');
      if (story.kept !== undefined && (row?.cost ?? -1) < story.kept && row?.kind !== 'final') wrong(`a floor of at least ${story.kept}`);
    }
  }
}
