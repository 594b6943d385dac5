/**
 * Who waits, in the order in which they came. Whoever has had their turn is forgotten at once: a place that still named them would
 * keep everything they hold alive, and every collection of garbage would copy it.
 */
export class Line<T extends object> {
  private places: (T | undefined)[] = [];
  private first = 0;

  get length(): number {
    return this.places.length - this.first;
  }

  /** Who is next. */
  get head(): T | undefined {
    return this.places[this.first];
  }

  push(one: T): void {
    this.places.push(one);
  }

  shift(): T | undefined {
    const one = this.head;
    if (one === undefined) return undefined;
    this.places[this.first++] = undefined;
    if (this.length === 0 || this.first > FORGET_AT) {
      this.places = this.places.slice(this.first);
      this.first = 0;
    }
    return one;
  }
}

const FORGET_AT = 1_000;
