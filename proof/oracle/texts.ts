import { type Step, usage } from '../../test/support/answers.js';
import type { Random } from '../random.js';

const WORDS = [
  'the',
  'fare',
  'is',
  'paid',
  'before',
  'you',
  'ride',
  'Zürich',
  'naïve',
  'façade',
  '漢字',
  'かな',
  '한국어',
  'Привет',
  'مرحبا',
  '🚋',
  '👩‍👩‍👧',
  '\n',
  'function',
  '() => {',
  '}',
  '0.1 + 0.2',
  '12345678',
  '<|endoftext|>',
  '"quoted"',
  'back\\slash',
  'tab\t',
  'e\u0301',
  '…',
  '100%',
] as const;

const RUNS = ['a', '漢', '😀', '=', 'ab', ' .'] as const;

export function sentence(random: Random): string {
  const words = Array.from({ length: random.whole(1, 20) }, () => random.pick(WORDS));
  // Now and then a run that a tokenizer would be slow on, so that the rule for cutting it is compared too.
  if (random.chance(0.03)) words.push(random.pick(RUNS).repeat(random.whole(100, 400)) as (typeof WORDS)[number]);
  return words.join(' ');
}

export function wordsOf(random: Random, count: number): string[] {
  return Array.from({ length: count }, () => `${random.chance(0.8) ? ' ' : ''}${random.pick(WORDS)}`);
}

export function randomUsage(random: Random): Step {
  const [input, output] = [random.whole(1, 120), random.whole(1, 200)];
  const cached = random.chance(0.3) ? { cached: random.whole(0, input + (random.chance(0.1) ? 50 : 0)) } : {};
  const reasoning = random.chance(0.2) ? { reasoning: random.whole(0, output) } : {};
  return usage(input, output, { ...cached, ...reasoning });
}
