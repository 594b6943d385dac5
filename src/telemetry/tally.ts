import type { Counter, Histogram } from 'prom-client';

type Labels = Readonly<Record<string, string | number>>;

/**
 * Counts that cost an addition. The library hashes labels at every call; on the hot path that is a tenth of all our time,
 * so sums are kept here per label set and handed over when somebody reads the metrics.
 */
export class Tally {
  private readonly counter: Counter;
  private readonly sums = new Map<string, { readonly labels: Labels; sum: number }>();

  constructor(counter: Counter) {
    this.counter = counter;
    const given = counter as Counter & { collect?: () => void };
    given.collect = () => this.flush();
  }

  /** `key` names the label set; labels are only made when it is new. */
  add(key: string, labels: () => Labels, amount = 1): void {
    const known = this.sums.get(key);
    if (known) known.sum += amount;
    else this.sums.set(key, { labels: labels(), sum: amount });
  }

  private flush(): void {
    for (const one of this.sums.values()) {
      if (one.sum === 0) continue;
      this.counter.inc(one.labels as Record<string, string | number>, one.sum);
      one.sum = 0;
    }
  }
}

/** One line of what the library prints. */
interface Sample {
  readonly metricName: string;
  readonly labels: Labels;
  readonly value: number;
}

interface Series {
  readonly labels: Labels;
  /** One more than there are bounds: the last is for everything above. */
  readonly counts: Float64Array;
  sum: number;
}

/** A histogram that finds its bucket by a short walk and writes one number; it takes the place of the one it is given. */
export class Distribution {
  private readonly bounds: readonly number[];
  private readonly name: string;
  private readonly help: string;
  private readonly series = new Map<string, Series>();

  constructor(histogram: Histogram, facts: { readonly name: string; readonly help: string; readonly bounds: readonly number[] }) {
    this.bounds = facts.bounds;
    this.name = facts.name;
    this.help = facts.help;
    const given = histogram as unknown as { get: () => Promise<object>; getForPromString: () => Promise<object> };
    given.get = async () => this.read();
    given.getForPromString = given.get;
  }

  observe(key: string, labels: () => Labels, value: number): void {
    let series = this.series.get(key);
    if (!series) {
      series = { labels: labels(), counts: new Float64Array(this.bounds.length + 1), sum: 0 };
      this.series.set(key, series);
    }
    let i = 0;
    while (i < this.bounds.length && value > (this.bounds[i] ?? 0)) i += 1;
    series.counts[i] = (series.counts[i] ?? 0) + 1;
    series.sum += value;
  }

  private read(): object {
    const values = [...this.series.values()].flatMap((series) => this.valuesOf(series));
    return { name: this.name, help: this.help, type: 'histogram', values, aggregator: 'sum' };
  }

  private valuesOf({ labels, counts, sum }: Series): Sample[] {
    let total = 0;
    const buckets = [...this.bounds, '+Inf'].map((le, i) => {
      total += counts[i] ?? 0;
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: total };
    });
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels: { ...labels }, value: sum },
      { metricName: `${this.name}_count`, labels: { ...labels }, value: total },
    ];
  }
}
