import { afterAll, beforeAll, expect, test } from 'vitest';
import { embeddedSubject } from '../../proof/simulate/embedded.js';
import { type Episode, live } from '../../proof/simulate/episode.js';
import { FAULTS } from '../../proof/simulate/faults.js';
import { PLANTS } from '../../proof/simulate/plants.js';
import { seedOf } from '../../proof/simulate/random.js';
import { redisSubject } from '../../proof/simulate/redis.js';
import type { Plant, Subject } from '../../proof/simulate/subject.js';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const EPISODE_STEPS = 1_500;

const subjects: Subject[] = [];
let plain: Subject;

async function open(plant: Plant = {}): Promise<Subject> {
  const subject = await redisSubject(plant);
  subjects.push(subject);
  return subject;
}

beforeAll(async () => {
  plain = await open();
});
afterAll(() => Promise.all(subjects.map((subject) => subject.close())));

async function run(subject: Subject, stepsMax: number): Promise<Episode> {
  let steps = 0;
  for (let part = 0; ; part++) {
    const last = await live(subject, { seed: seedOf(SEED, part), steps: EPISODE_STEPS, faults: FAULTS });
    steps += last.steps;
    if (last.violation || steps >= stepsMax) return last;
  }
}

test(`no promise about money breaks in Redis in 100,000 steps (SEED=${SEED})`, async () => {
  expect((await run(plain, 100_000)).violation?.message).toBeUndefined();
}, 600_000);

test(`no promise about money breaks in the embedded store in 1,000,000 steps (SEED=${SEED})`, async () => {
  expect((await run(embeddedSubject(), 1_000_000)).violation?.message).toBeUndefined();
}, 600_000);

test.each(['forgets-repeats', 'adds-on-load', 'one-epoch-for-ever', 'floors-are-final'])(
  `a planted bug is found: %s (SEED=${SEED})`,
  async (name) => {
    const subject = await open(PLANTS[name]);
    expect((await run(subject, 200_000)).violation?.message).toMatch(/./);
  },
  120_000,
);
