import { Chooser } from './choose.js';
import { FAULTS, type Fault } from './faults.js';
import { Random } from './random.js';
import { comeToRest } from './rest.js';
import { genesis } from './script.js';
import type { Subject } from './subject.js';
import { Violation } from './violation.js';
import { emptyTally, type Tally, World } from './world.js';

export interface Episode {
  readonly strict: boolean;
  readonly steps: number;
  readonly tally: Tally;
  /** The lines played, without how the episode began and came to rest. */
  readonly script: readonly string[];
  readonly violation: Violation | undefined;
}

/** A life of its own, made up line by line from one seed, then brought to rest. */
export async function live(subject: Subject, options: { seed: number; steps: number; faults: readonly Fault[] }): Promise<Episode> {
  const random = new Random(options.seed);
  const strict = random.chance(50);
  // Most episodes have a few kinds of trouble; some have none, and some all of them.
  const some = random.below(4);
  const faults = new Set(options.faults.filter(() => (some === 0 ? false : some === 3 ? true : random.chance(45))));
  const script: string[] = [];
  return play(subject, { strict, script }, (world) => {
    const chooser = new Chooser(world, random, faults);
    return () => (script.length < options.steps ? chooser.next() : undefined);
  });
}

/** The same lines again: whatever happened then happens now. */
export async function replay(subject: Subject, script: readonly string[], strict: boolean): Promise<Episode> {
  let at = 0;
  return play(subject, { strict, script: [] }, () => () => script[at++]);
}

async function play(
  subject: Subject,
  { strict, script }: { strict: boolean; script: string[] },
  begin: (world: World) => () => string | undefined,
): Promise<Episode> {
  await subject.reset();
  const world = new World(subject, strict);
  let violation: Violation | undefined;
  try {
    await genesis(world);
    const next = begin(world);
    for (let line = next(); line !== undefined; line = next()) {
      script.push(line);
      await world.perform(line);
    }
    await comeToRest(world);
  } catch (error) {
    violation =
      error instanceof Violation
        ? error
        : new Violation('no surprise', error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  for (const row of world.books.rows.values()) world.tally.charged += row.cost;
  return { strict, steps: world.steps, tally: world.tally, script, violation };
}

export function addUp(sum: Tally, tally: Tally): void {
  for (const word of Object.keys(emptyTally()) as (keyof Tally)[]) sum[word] += tally[word];
}

export const isFault = (word: string): word is Fault => (FAULTS as readonly string[]).includes(word);
