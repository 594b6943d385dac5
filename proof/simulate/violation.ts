/** What must never happen, by name. */
export type Invariant =
  | 'no overspend'
  | 'no spending while closed'
  | 'no spending after revocation'
  | 'no refusal without reason'
  | 'answers follow the contract'
  | 'held and pend are sums'
  | 'versions never go back'
  | 'balance is what Postgres said'
  | 'spendable is on the safe side'
  | 'booked once, with all that was said'
  | 'what is booked only grows'
  | 'credits are conserved'
  | 'strict never goes below zero'
  | 'comes to rest'
  | 'no surprise';

export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, found: string) {
    super(`${invariant}: ${found}`);
    this.invariant = invariant;
  }
}
