import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const VERBS = [
  'lookup',
  'project',
  'hold',
  'extend',
  'settle',
  'rehold',
  'applied',
  'load',
  'due',
  'pending',
  'inspect',
  'trim',
  'transition',
] as const;

export type Verb = (typeof VERBS)[number];

const PRELUDE = ['numbers', 'epoch', 'org', 'token', 'room', 'rate', 'sums'] as const;

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** What the header of a verb's file says it is given; the header is the specification, so nothing repeats it. */
export interface Header {
  /** Arguments cut out of a command's head: all but the epoch and the texts. */
  readonly fields: number;
  readonly texts: number;
  /** Keys beyond the three of the shard; one marked `only when` may be missing, one marked `…` may repeat. */
  readonly keys: number;
  readonly optionalKeys: number;
  readonly manyKeys: boolean;
}

/**
 * The one script that is sent: every verb as a function, and a loop that runs each command of a batch under pcall. So
 * whatever waits travels in one call, and a broken key fails only its own command.
 */
export function batchScript(): Script {
  const verbs = VERBS.map((verb) => `VERBS.${verb} = function(KEYS, ARGV)\n${read(verb)}end\n`).join('');
  const cuts = VERBS.map((verb) => {
    const { fields } = headerOf(verb);
    return fields === 0 ? '' : `SPLIT.${verb} = '^${Array(fields).fill('([^|]*)').join('|')}$'\n`;
  }).join('');
  const prelude = PRELUDE.map((part) => read(`prelude/${part}`)).join('');
  const source = `${prelude}local VERBS, SPLIT = {}, {}\n${verbs}${cuts}${read('batch')}`;
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

export function headerOf(verb: Verb): Header {
  const header = read(verb)
    .split('\n')
    .filter((line) => line.startsWith('--'));
  const told = header.join('\n');
  const args = header.filter((line) => /^-- ARGV\[\d/.test(line)).slice(1);
  const texts = args.filter((line) => /, (?:seven )?texts?$/.test(line)).length;
  const keys = [...told.matchAll(/KEYS\[(\d+)(…?)\](?= )/g)].filter((match) => match.index < told.indexOf('ARGV['));
  const optional = /^-- KEYS\[\d+\] .*only when/m.test(told) ? 1 : 0;
  const many = keys.some((match) => match[2] === '…');
  return {
    fields: args.length - texts,
    texts,
    keys: keys.length - 3 - optional - (many ? 1 : 0),
    optionalKeys: optional,
    manyKeys: many,
  };
}

const read = (name: string): string => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
