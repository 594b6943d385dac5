// `npm test`: types, lint, dead code and every test there is, with real Redis and Postgres. Arguments go to vitest.
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, ready, say } from './install.mjs';
import { needServices } from './servers.mjs';
import { report, run, TOOLS } from './steps.mjs';

const FILES_WANTED = 4096;

ready();
needServices();
noteFileLimit();
const seed = process.env['SEED'] ?? String(randomInt(1, 2 ** 31));
say(`Random tests use SEED=${seed}; set it to repeat this run.`);

const narrowed = process.argv.slice(2);
const checks = narrowed.length > 0 ? [] : await Promise.all(['types', 'lint', 'unused'].map((name) => run(name, TOOLS[name])));
const good = checks.filter(report).length;
const tests = await runTests(narrowed);
const failed = checks.length - good + tests.failed;
if (failed > 0) say(`Random tests used SEED=${seed}.`);
process.stdout.write(`${good + tests.passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs vitest with its output going straight to the terminal; the numbers come from its JSON report. */
async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-tests-'));
  const outcome = join(folder, 'outcome.json');
  const vitest = [
    join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${outcome}`,
  ];
  const code = await inherit([...vitest, ...args], { ...process.env, SEED: seed });
  const counts = existsSync(outcome) ? JSON.parse(readFileSync(outcome, 'utf8')) : { numPassedTests: 0, numFailedTests: 0 };
  rmSync(folder, { recursive: true, force: true });
  // A crash, an unhandled error or a file that would not load is a failure too, even if no single test says so.
  const failed = counts.numFailedTests + (code !== 0 && counts.numFailedTests === 0 ? 1 : 0);
  return { passed: counts.numPassedTests, failed };
}

/** Starts node with as many open files as the system allows: the scenarios hold thousands of sockets. */
function inherit(args, env) {
  const command =
    process.platform === 'win32'
      ? [process.execPath, ...args]
      : ['sh', '-c', 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"', 'sh', process.execPath, ...args];
  return new Promise((done) => {
    const child = spawn(command[0], command.slice(1), { cwd: ROOT, env, stdio: 'inherit' });
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
    child.on('close', (code) => done(code ?? 1));
  });
}

function noteFileLimit() {
  if (process.platform === 'win32') return;
  const limit = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  if (limit < FILES_WANTED)
    say(`Note: this shell allows only ${limit} open files (ulimit -Hn); tests with many connections want ${FILES_WANTED}.`);
}
