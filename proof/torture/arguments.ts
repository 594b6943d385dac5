export interface Arguments {
  readonly seed: number | undefined;
  readonly minutes: number | undefined;
  readonly rounds: number | undefined;
  readonly runs: number;
  readonly atOnce: number | undefined;
  readonly only: readonly string[];
  readonly json: boolean;
  readonly list: boolean;
  /** Run dist/ instead of the sources. */
  readonly built: boolean;
  /** A file for the server's log. */
  readonly log: string | null;
}

export const USAGE = `npm run torture -- [--seed N] [--minutes M] [--rounds N] [--at-once N] [--only F13,F16] [--built] [--json] [--log FILE]
npm run torture -- --only oracle [--runs 10000] [--seed N]     every ending against an independent computation
npm run torture -- --only R7 [--rounds N] [--at-once N] [--built]   one promise with a figure, by a program of its own
npm run torture -- --list                                      the faults there are`;

const MINUTES_MAX = 24 * 60;
const NUMBERS = new Map([
  ['--seed', 2 ** 31],
  ['--minutes', MINUTES_MAX],
  ['--rounds', 10_000],
  ['--runs', 1_000_000],
  ['--at-once', 1_000_000],
]);

/** What was asked for, or a sentence about what cannot be understood. */
export function readArguments(words: readonly string[]): Arguments | string {
  const numbers = new Map<string, number>();
  const flags = new Set<string>();
  let only: string[] = [];
  let log: string | null = null;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    const most = NUMBERS.get(word);
    if (word === '--json' || word === '--list' || word === '--built') flags.add(word);
    else if (word === '--only') only = (words[++i] ?? '').split(',').filter(Boolean);
    else if (word === '--log') log = words[++i] ?? null;
    else if (most === undefined) return `${word} is no option of this tool.`;
    else {
      const value = Number(words[++i]);
      if (!(value > 0 || (word === '--seed' && value === 0)) || value > most) return `${word} takes a number up to ${most}.`;
      numbers.set(word, value);
    }
  }
  return {
    seed: numbers.get('--seed'),
    minutes: numbers.get('--minutes'),
    rounds: numbers.get('--rounds'),
    runs: numbers.get('--runs') ?? 10_000,
    atOnce: numbers.get('--at-once'),
    only,
    json: flags.has('--json'),
    list: flags.has('--list'),
    built: flags.has('--built'),
    log,
  };
}
