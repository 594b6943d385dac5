// `npm run bench [-- --quick] [--only bare|farebox] [--reps N] [--seconds N] [--profile] [--no-write]`
// Farebox, with everything on, against the barest proxy Node can be, in the same minutes on the same core.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PHASES, requestFor } from './phases.mjs';
import { canPin, end, startLines } from './processes.mjs';
import { describeProfile } from './profile.mjs';
import { print, write } from './results.mjs';
import { startStores } from './stores.mjs';
import { startBare, startFarebox } from './subjects.mjs';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    reps: { type: 'string' },
    seconds: { type: 'string' },
    profile: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
  },
});
const reps = Number(options.reps ?? (options.quick ? 1 : 3));
const seconds = Number(options.seconds ?? (options.quick ? 2 : 4));
const streams = options.quick ? 500 : 2_000;
const wanted = (name) => options.only === undefined || options.only === name;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

if (wanted('farebox') && spawnSync(process.execPath, [here('../scripts/build.mjs')], { stdio: 'inherit' }).status !== 0) process.exit(1);
const mock = await startLines(here('./mock.mjs'));
const { port: upstream } = await mock.next();
const load = await startLines(here('./load.mjs'));
const stores = wanted('farebox') ? await startStores() : undefined;
try {
  if (options.profile) await profile();
  else await compare();
} finally {
  await end(load.child, 'SIGKILL');
  await end(mock.child, 'SIGKILL');
  await stores?.stop();
}
process.exit(0);

/**
 * Every repetition starts fresh processes and takes the phases in turn, so that a noisy minute hits all subjects alike. Memory is
 * measured with processes of its own: what thousands of streams leave behind, in a pool of connections say, is no part of the rest.
 */
async function compare() {
  const samples = [];
  for (let rep = 1; rep <= reps; rep++) {
    for (const phases of [PHASES.slice(0, 1), PHASES.slice(1)]) samples.push(...(await measured(`${rep}/${reps}`, phases)));
  }
  const about = { reps, seconds, streams, canPin, stores: stores?.versions ?? 'none', quick: options.quick };
  print(samples, about);
  if (!options['no-write'] && options.only === undefined) write(samples, about);
}

async function measured(rep, phases) {
  const samples = [];
  const subjects = [{ name: 'direct', port: upstream, token: 'none', stop: () => {} }];
  if (wanted('bare')) subjects.push(await startBare(upstream));
  if (wanted('farebox')) subjects.push(await startFarebox(upstream, stores));
  for (const phase of phases) {
    const those = subjects.filter(({ name }) => name !== 'direct' || phase.direct);
    for (const subject of those) await phase.warm?.(subject, load, { seconds });
    for (let round = 0; round < (phase.rounds ?? 1); round++) {
      for (const subject of those) {
        const sample = await phase.measure(subject, load, { seconds, streams });
        process.stderr.write(`${rep} ${phase.name.padEnd(24)} ${subject.name.padEnd(11)} ${JSON.stringify(sample)}\n`);
        samples.push({ phase: phase.name, subject: subject.name, ...sample });
      }
    }
  }
  for (const subject of subjects) await subject.stop();
  return samples;
}

async function profile() {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-profile-'));
  const subject = await startFarebox(upstream, stores, { profileTo: folder });
  const job = { kind: 'json', port: subject.port, request: requestFor(subject, 'bench-json'), connections: 32, seconds };
  await load.ask(job);
  process.kill(subject.pid, 'SIGUSR2');
  await load.ask({ ...job, seconds: seconds * 2 });
  process.kill(subject.pid, 'SIGUSR2');
  const file = () => readdirSync(folder).find((name) => name.startsWith(`${subject.pid}.`));
  for (let tries = 0; tries < 100 && !file(); tries++) await new Promise((go) => setTimeout(go, 100));
  await subject.stop();
  process.stdout.write(`${describeProfile(join(folder, file()))}\n\nThe profile itself: ${join(folder, file())}\n`);
  if (options['no-write']) rmSync(folder, { recursive: true });
}
