import type { Answer, Answers, Call } from './calls.js';
import type { Invariant } from './violation.js';

/** What a store answered, in the words in which the model says what it expected. */
export function wordsOf({ verb }: Call, answer: Answer, isOpen: boolean): string | undefined {
  if (answer.kind === 'unavailable') return `unavailable ${answer.reason}`;
  switch (answer.kind) {
    case 'held':
      return 'amount' in answer ? `held ${answer.amount} ${answer.remaining}${answer.repeated ? ' repeated' : ''}` : 'held';
    case 'settled':
      return 'epoch' in answer ? `settled${isOpen ? ` ${answer.remaining}` : ''}${answer.repeated ? ' repeated' : ''}` : 'settled';
    case 'short':
      return 'scope' in answer ? `short ${answer.scope} ${answer.available}` : `short ${answer.amount}`;
    case 'rate_limited':
      return `rate_limited ${answer.scope}`;
    case 'extended':
      return `extended ${answer.amount}`;
    case 'applied':
      return `applied ${answer.remaining}`;
    case 'due':
      return `due ${answer.holds
        .map(({ requestId }) => requestId)
        .sort()
        .join()}`;
    case 'pending':
      return `pending ${answer.ids.join()}`;
    default:
      return verb === 'shards' || verb === 'entries' || verb === 'trim' ? undefined : answer.kind;
  }
}

/** The promise that an unexpected answer breaks. */
export function promiseOf(call: Call, expected: string, answer: Answer): Invariant {
  if (call.verb !== 'hold') return 'answers follow the contract';
  const { kind } = answer as Answers['hold'];
  if (kind !== 'held') return kind === 'short' ? 'no refusal without reason' : 'answers follow the contract';
  if (expected.startsWith('short')) return 'no overspend';
  if (expected.startsWith('unavailable')) return 'no spending while closed';
  return expected === 'token_revoked' ? 'no spending after revocation' : 'answers follow the contract';
}
