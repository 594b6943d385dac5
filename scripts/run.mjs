import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './install.mjs';

const TWICE_MS = 500;

/**
 * Runs `farebox <args>` from the sources and ends as it ends. Ctrl-C reaches this process twice, from the terminal and
 * from npm, and a second signal means "now": so a server gets a process group of its own, and each signal once.
 */
export function farebox(args) {
  const detached = args[0] === 'start' && process.platform !== 'win32';
  const leash = detached ? ['--import', new URL('./leash.mjs', import.meta.url).href] : [];
  const command = ['--import', import.meta.resolve('tsx'), ...leash, join(ROOT, 'src', 'cli.ts'), ...args];
  const env = detached ? { ...process.env, FAREBOX_STARTER: String(process.pid) } : process.env;
  const child = spawn(process.execPath, command, { stdio: 'inherit', detached, env });
  const last = new Map();
  const forward = (signal) => {
    const now = performance.now();
    if (now - (last.get(signal) ?? Number.NEGATIVE_INFINITY) < TWICE_MS) return;
    last.set(signal, now);
    if (detached || signal !== 'SIGINT') child.kill(signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
  if (detached && process.env['npm_lifecycle_event']) followParent(() => forward('SIGTERM'));
  child.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** npm waits for its script; when the parent changes, npm or its shell was killed without passing the signal on. */
function followParent(onGone) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    onGone();
  }, 500);
  watch.unref();
}
