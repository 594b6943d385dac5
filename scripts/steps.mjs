import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT, say } from './install.mjs';

const bin = (name) => join(ROOT, 'node_modules', '.bin', name);

/** The tools every check uses, by name. */
export const TOOLS = {
  types: [bin('tsc'), '--noEmit', '--incremental', '--tsBuildInfoFile', join(ROOT, 'node_modules', '.cache', 'types.tsbuildinfo')],
  lint: [bin('biome'), 'check', '--error-on-warnings'],
  unused: [bin('knip'), '--no-progress'],
  unit: [bin('vitest'), 'run', '--project', 'unit', '--reporter=dot'],
};

/** Runs one tool and keeps its output until it ends, so that tools running side by side do not mix. */
export function run(name, [command, ...args], env = {}) {
  const started = performance.now();
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const parts = [];
    child.stdout.on('data', (bytes) => parts.push(bytes));
    child.stderr.on('data', (bytes) => parts.push(bytes));
    child.on('error', (error) => done({ name, ok: false, output: error.message, seconds: 0 }));
    child.on('close', (code) => {
      const seconds = (performance.now() - started) / 1000;
      done({ name, ok: code === 0, output: Buffer.concat(parts).toString('utf8'), seconds });
    });
  });
}

export function report({ name, ok, output, seconds }) {
  say(`${ok ? 'ok    ' : 'FAILED'} ${name.padEnd(8)} ${seconds.toFixed(1)} s`);
  if (!ok) say(output.trimEnd());
  return ok;
}
