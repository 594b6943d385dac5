/** A promise with a figure, checked by a program of its own: `npm run torture -- --only R7`. */
export interface Claim {
  readonly id: string;
  readonly name: string;
  run(options: ClaimOptions): Promise<Outcome>;
}

export interface ClaimOptions {
  readonly seed: number;
  /** How often the thing is done; each claim has its own default. */
  readonly rounds?: number | undefined;
  readonly minutes?: number | undefined;
  /** How much at a time: streams, requests, accounts, whatever the claim is about. */
  readonly atOnce?: number | undefined;
  /** Run what `npm run build` made instead of the sources. */
  readonly built?: boolean | undefined;
  say(line: string): void;
}

/** What was measured, in the order in which it should be read, and everything that should not have been. */
export interface Outcome {
  readonly facts: readonly (readonly [what: string, value: string | number])[];
  readonly violations: readonly string[];
}

export const worst = (values: readonly number[]): number => Math.max(0, ...values);

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
