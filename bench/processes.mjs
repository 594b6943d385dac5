import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';

const children = new Set();

process.on('exit', () => {
  for (const child of children) endGroup(child, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Two places to run: the subject alone on the last core, everything else on the first. Without taskset or a second core: anywhere. */
export const canPin = process.platform === 'linux' && availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;
const LAST = availableParallelism() - 1;

/** Starts a program that dies with this one. Output is kept for the error message. */
export function start(command, args, { pin = 'first', stdio = ['pipe', 'pipe', 'pipe'], ...options } = {}) {
  const cores = pin === 'subject' ? String(LAST) : `0-${Math.max(0, LAST - 1)}`;
  const line = canPin ? ['taskset', '-c', cores, command, ...args] : [command, ...args];
  const child = spawn(line[0], line.slice(1), { stdio, detached: true, ...options });
  children.add(child);
  child.output = '';
  child.stderr?.on('data', (bytes) => {
    child.output = (child.output + bytes).slice(-4_000);
  });
  child.on('exit', () => children.delete(child));
  return child;
}

/** A child that answers in lines of JSON. */
export async function startLines(file, args = [], options = {}) {
  const child = start(process.execPath, [file, ...args], options);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${file} ended:\n${child.output}`);
    return JSON.parse(value);
  };
  const ask = (job) => {
    child.stdin.write(`${JSON.stringify(job)}\n`);
    return next();
  };
  return { child, next, ask };
}

export function pinToSubject(pid) {
  if (canPin) spawnSync('taskset', ['-a', '-c', '-p', String(LAST), String(pid)]);
}

export async function end(child, signal = 'SIGTERM', patienceMs = 20_000) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = once(child, 'exit');
  if (signal === 'SIGTERM') child.kill(signal);
  else endGroup(child, signal);
  const late = setTimeout(() => endGroup(child, 'SIGKILL'), patienceMs);
  await over;
  clearTimeout(late);
  endGroup(child, 'SIGKILL');
}

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone already.
  }
}

/** Nanoseconds on a CPU of all threads of one process. */
export function cpuNs(pid) {
  let sum = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // A thread that ended between the listing and the reading.
    }
  }
  return sum;
}

export function rssKb(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

/** A process and everything below it, with the name each gives itself. */
export function family(pid) {
  const parents = new Map();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]));
    } catch {
      // Gone already.
    }
  }
  const found = [pid];
  for (let at = 0; at < found.length; at++) for (const [child, parent] of parents) if (parent === found[at]) found.push(child);
  return found.map((one) => ({ pid: one, title: readFileSync(`/proc/${one}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() }));
}
