/** A small seeded source of numbers (splitmix32): the same seed gives the same run on every machine. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** 0 … 2^32 − 1. */
  next(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let mixed = this.state ^ (this.state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A whole number from 0 up to but not including `end`. */
  below(end: number): number {
    return end <= 1 ? 0 : this.next() % end;
  }

  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }
}

/** One seed for each part of a run, so that a part can be repeated alone. */
export function seedOf(seed: number, part: number): number {
  return new Random((seed ^ Math.imul(part + 1, 0x85ebca6b)) >>> 0).next();
}
