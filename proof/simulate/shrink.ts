import { type Episode, replay } from './episode.js';
import type { Subject } from './subject.js';
import type { Invariant } from './violation.js';

/** A later pass may take away what an earlier one still needed. */
const PASSES_MAX = 6;

/**
 * Takes away whatever is not needed to break the same promise: first large parts of the script, then smaller ones, down
 * to single lines. What is left is usually short enough to be read as a story.
 */
export async function shrink(
  subject: Subject,
  failing: { readonly script: readonly string[]; readonly strict: boolean; readonly invariant: Invariant },
  progress: (lines: number) => void = () => undefined,
): Promise<readonly string[]> {
  const breaks = async (script: readonly string[]): Promise<boolean> => {
    const { violation }: Episode = await replay(subject, script, failing.strict);
    return violation?.invariant === failing.invariant;
  };
  let script = failing.script;
  for (let pass = 0, before = Number.POSITIVE_INFINITY; pass < PASSES_MAX && script.length < before; pass++) {
    before = script.length;
    script = await onePass(script, breaks, progress);
  }
  return script;
}

async function onePass(
  whole: readonly string[],
  breaks: (script: readonly string[]) => Promise<boolean>,
  progress: (lines: number) => void,
): Promise<readonly string[]> {
  let script = whole;
  for (let size = Math.ceil(script.length / 2); size >= 1; size = Math.floor(size / 2)) {
    let at = script.length;
    while (at > 0) {
      const from = Math.max(0, at - size);
      const shorter = [...script.slice(0, from), ...script.slice(at)];
      if (await breaks(shorter)) {
        script = shorter;
        progress(script.length);
      }
      at = from;
    }
  }
  return script;
}
