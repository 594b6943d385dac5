import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What one request does, several times a second each: they travel packed, and share what they read. */
export const SPENDING = ['hold', 'extend', 'settle', 'rehold'] as const;

/** Everything else. */
export const VERBS = [
  'lookup',
  'project',
  'applied',
  'expect',
  'load',
  'wanted',
  'due',
  'holds',
  'pending',
  'inspect',
  'trim',
  'transition',
] as const;

export type Verb = (typeof VERBS)[number];

/** In front of every verb. */
const BASE = ['numbers', 'stored', 'epoch', 'org', 'room'] as const;
/** What few requests need, and the names by which it is asked for. */
const RARE = ['token', 'member', 'capped', 'rate', 'admit', 'moved', 'ended', 'held'] as const;
const RARE_NAMES = 'capped shared sharersOf readToken refusalOf alreadyKnown moveToken writeToken isDue addWhenFull'.split(' ');

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** What the header of a verb's file says it is given; the header is the specification, so nothing repeats it. */
export interface Header {
  /** Arguments cut out of a command's head: all but the epoch and the texts. */
  readonly fields: number;
  readonly texts: number;
  /** Keys beyond the three of the shard; one marked `…` may repeat. */
  readonly keys: number;
  readonly manyKeys: boolean;
}

/**
 * Every verb as a function, and a loop that runs each command of a batch under pcall. So whatever waits travels in one
 * call, and a broken key fails only its own command.
 */
export function batchScript(): Script {
  const verbs = VERBS.map((verb) => `VERBS.${verb} = function(KEYS, ARGV)\n${read(verb)}end\n`).join('');
  const cuts = VERBS.map((verb) => {
    const { fields } = headerOf(verb);
    return fields === 0 ? '' : `SPLIT.${verb} = '^${Array(fields).fill('([^|]*)').join('|')}$'\n`;
  }).join('');
  const body = `local VERBS, SPLIT = {}, {}\n${verbs}${cuts}${read('batch')}`;
  const preludes = [...BASE, 'token', 'capped', 'arguments', 'sums', 'told', 'versions'].map((name) => read(`prelude/${name}`)).join('');
  return script(`${preludes}rarely = function() return { capped = capped } end\n${body}`);
}

/**
 * The same for what requests do, with little else in it: a server makes every function of a script anew at each call. So
 * what few requests need is made when the first of them needs it.
 */
export function spendScript(): Script {
  const preludes = (names: readonly string[]): string => names.map((name) => read(`prelude/${name}`)).join('');
  const rare = `${preludes(RARE)}${read('extend')}${read('rehold')}`;
  const names = [...RARE_NAMES.map((name) => `${name} = ${name}`), '[69] = extend', '[82] = rehold'].join(', ');
  const later = `local made\nrarely = function()\nif made then return made end\n${rare}made = { ${names} }\nreturn made\nend\n`;
  return script(`${preludes([...BASE, 'seen'])}${later}${read('hold')}${read('settle')}${read('spend')}`);
}

/** Nothing but itself: it is asked several times a second by everybody. */
export const lookScript = (): Script => script(read('look'));

export function headerOf(verb: Verb): Header {
  const header = read(verb)
    .split('\n')
    .filter((line) => line.startsWith('--'));
  const told = header.join('\n');
  const args = header.filter((line) => /^-- ARGV\[\d/.test(line)).slice(1);
  const texts = args.filter((line) => /, (?:seven )?texts?$/.test(line)).length;
  const keys = [...told.matchAll(/KEYS\[(\d+)(…?)\](?= )/g)].filter((match) => match.index < told.indexOf('ARGV['));
  const many = keys.some((match) => match[2] === '…');
  return { fields: args.length - texts, texts, keys: keys.length - 3 - (many ? 1 : 0), manyKeys: many };
}

const read = (name: string): string => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');

const script = (source: string): Script => ({ source, sha: createHash('sha1').update(source).digest('hex') });
