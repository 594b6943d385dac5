import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { embeddedSubject } from './embedded.js';
import { addUp, type Episode, isFault, live, replay } from './episode.js';
import { FAULTS } from './faults.js';
import { PLANTS } from './plants.js';
import { seedOf } from './random.js';
import { shrink } from './shrink.js';
import type { Subject } from './subject.js';
import { emptyTally, type Tally } from './world.js';

const EPISODE_STEPS = 2_500;
const USAGE = `Usage: npm run simulate -- [--seed N] [--steps M] [--store embedded|redis] [--faults ${FAULTS.join(',')}]
                           [--replay FILE] [--plant NAME] [--out FILE]

Runs gateways, drains, healers and an operator against the real hot store on a network that delays, doubles, loses and
reorders every call, with crashes, wiped and rolled-back stores and an absent Postgres, and checks every promise about
money after each step. The same seed gives the same run. A failure is shrunk and written down; --replay plays it again.
--plant puts a bug between the simulator and the store, to see that it is found: ${Object.keys(PLANTS).join(', ')}.
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    steps: { type: 'string', default: '1000000' },
    store: { type: 'string', default: 'embedded' },
    faults: { type: 'string', default: FAULTS.join(',') },
    replay: { type: 'string' },
    plant: { type: 'string' },
    out: { type: 'string', default: 'simulate-failure.txt' },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<number> {
  const faults = values.faults.split(',').filter(isFault);
  const plant = values.plant === undefined ? {} : PLANTS[values.plant];
  const wrong = !plant || !/^\d+$/.test(values.steps) || !/^\d*$/.test(values.seed ?? '');
  if (values.help || wrong || !['embedded', 'redis'].includes(values.store)) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const subject = values.store === 'redis' ? await (await import('./redis.js')).redisSubject(plant) : embeddedSubject(plant);
  try {
    if (values.replay !== undefined) return await playAgain(subject, values.replay);
    const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31));
    return await run(subject, { seed, steps: Number(values.steps), faults });
  } finally {
    await subject.close();
  }
}

async function run(subject: Subject, options: { seed: number; steps: number; faults: ReturnType<typeof faultsOf> }): Promise<number> {
  const { seed, steps, faults } = options;
  process.stdout.write(`seed ${seed} · ${values.store} store · ${steps} steps · faults: ${faults.join(' ') || 'none'}\n`);
  const sum = emptyTally();
  const startedMs = Date.now();
  let done = 0;
  for (let part = 0; done < steps; part++) {
    const episode = await live(subject, { seed: seedOf(seed, part), steps: Math.min(EPISODE_STEPS, steps - done), faults });
    done += episode.steps;
    addUp(sum, episode.tally);
    progress(`${done} steps · episode ${part + 1} · ${rate(done, startedMs)} steps/s · ${sum.requests} requests · ${sum.kills} kills`);
    if (episode.violation) return report(subject, episode, { seed, part, before: done - episode.steps });
  }
  progress('');
  table(sum, { steps: done, seconds: (Date.now() - startedMs) / 1000 });
  return 0;
}

async function report(subject: Subject, episode: Episode, where: { seed: number; part: number; before: number }): Promise<number> {
  const { violation, script } = episode;
  if (!violation) return 0;
  progress('');
  process.stdout.write(`\nBROKEN  ${violation.message}\n`);
  process.stdout.write(
    `        seed ${where.seed}, step ${where.before + episode.steps} (line ${script.length} of episode ${where.part})\n`,
  );
  const failing = { script, strict: episode.strict, invariant: violation.invariant };
  const short = await shrink(subject, failing, (lines) => progress(`shrinking: ${lines} of ${script.length} lines`));
  const again = await replay(subject, short, episode.strict);
  progress('');
  writeFileSync(values.out, `${[`# ${violation.invariant}; seed ${where.seed}`, `mode ${modeOf(episode.strict)}`, ...short].join('\n')}\n`);
  process.stdout.write(`        the shortest story that breaks it, ${short.length} of ${script.length} lines:\n\n`);
  for (const line of short) process.stdout.write(`  ${line}\n`);
  process.stdout.write(
    `\n  ${again.violation?.message ?? ''}\n\nPlay it again: npm run simulate -- --store ${values.store} --replay ${values.out}\n`,
  );
  return 1;
}

async function playAgain(subject: Subject, file: string): Promise<number> {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [mode = '', ...script] = lines;
  const { violation, tally, steps, script: played } = await replay(subject, script, mode === 'mode strict');
  if (violation) process.stdout.write(`BROKEN  ${violation.message}\n        line ${played.length} of ${script.length}\n`);
  else table(tally, { steps, seconds: 0 });
  return violation ? 1 : 0;
}

const faultsOf = (text: string) => text.split(',').filter(isFault);
const modeOf = (strict: boolean): string => (strict ? 'strict' : 'normal');
const rate = (done: number, startedMs: number): number => Math.round((done * 1000) / Math.max(1, Date.now() - startedMs));

function progress(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${words}`);
}

function table(sum: Tally, run: { steps: number; seconds: number }): void {
  const rows: [string, number][] = [['steps', run.steps], ...(Object.entries(sum) as [string, number][])];
  for (const [word, count] of rows) process.stdout.write(`  ${word.padEnd(26)}${String(count).padStart(14)}\n`);
  if (run.seconds > 0)
    process.stdout.write(`  ${'steps per second'.padEnd(26)}${String(Math.round(run.steps / run.seconds)).padStart(14)}\n`);
  process.stdout.write('Nothing lost, nothing twice, nothing overspent.\n');
}

process.exitCode = await main();
