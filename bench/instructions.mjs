// Instructions of a process, counted by `perf stat` where that is there and permitted. What else the machine does moves times by a
// factor of two and these by a hundredth.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

const EVENT = ['stat', '-x', ';', '-e', 'instructions'];
const ATTACH_MS = 300;
const counted = (text) => Number(/^(\d+);/m.exec(text)?.[1]);

export const canCount = counted(spawnSync('perf', [...EVENT, 'true'], { encoding: 'utf8' }).stderr ?? '') > 0;

/** Runs `work` and adds to what it answers the instructions the process took meanwhile; null when they cannot be counted. */
export async function counting(pid, work) {
  if (!canCount || !pid) return { ...(await work()), instructions: null };
  const perf = spawn('perf', [...EVENT, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  perf.stderr.on('data', (bytes) => {
    text += bytes;
  });
  await new Promise((go) => setTimeout(go, ATTACH_MS));
  const result = await work();
  perf.kill('SIGINT');
  await once(perf, 'close');
  return { ...result, instructions: counted(text) || null };
}
