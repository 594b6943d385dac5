import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LEAST = [20, 19];

/**
 * Makes sure that Node is new enough and that node_modules is what the lock file says. Everything it prints goes to
 * standard error, so that `farebox … --json` stays pure JSON.
 */
export function ready() {
  requireNode();
  const lock = join(ROOT, 'package-lock.json');
  const stamp = join(ROOT, 'node_modules', '.farebox-lock');
  if (!existsSync(lock)) return; // a packed or copied tree brings its own node_modules
  const wanted = createHash('sha256').update(readFileSync(lock)).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  if (installed(lock)) return mark(stamp, wanted);
  const alone = takeTurn();
  if (alone.waited && installed(lock)) return alone.end();
  say('Installing what Farebox needs (about a minute the first time) …');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=warn', '--include=dev'];
  // A mirror that lacks a package for some other platform stops `npm ci`; `npm install` goes by the same lock file and carries on.
  const clock = showTime();
  const good = npm(['ci', ...options]) || npm(['install', '--no-save', ...options]);
  clock.kill();
  alone.end();
  if (!good) fail('npm could not install the packages. Its last lines above say why; after fixing that, run the same command again.');
  mark(stamp, wanted);
  say('Installed.');
}

/** Two installations at once take each other's files away: whoever comes second, from another terminal, waits. */
function takeTurn() {
  const file = join(ROOT, '.farebox-installing');
  const end = () => rmSync(file, { force: true });
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      return { waited, end };
    } catch (error) {
      if (error.code !== 'EEXIST') return { waited, end };
    }
    if (!isAlive(pidIn(file))) end();
    else {
      if (!waited) say('Another terminal is installing what Farebox needs; waiting for it …');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    }
  }
}

function pidIn(file) {
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
}

function isAlive(pid) {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** npm says nothing for a while and this process waits for it, so another one shows that time passes. */
function showTime() {
  const tick =
    "let s = 0; setInterval(() => process.stderr.write('  … ' + (s += 3) + ' s\\n'), 3000); process.on('disconnect', () => process.exit())";
  return spawn(process.execPath, ['-e', tick], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

/** True when every package of the lock file is there in its version: then there is nothing to do, whoever installed it. */
function installed(lock) {
  const hidden = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(hidden)) return false;
  const have = JSON.parse(readFileSync(hidden, 'utf8')).packages;
  const want = JSON.parse(readFileSync(lock, 'utf8')).packages;
  return Object.entries(want).every(([path, one]) => path === '' || one.optional || have[path]?.version === one.version);
}

function mark(stamp, wanted) {
  try {
    writeFileSync(stamp, wanted);
  } catch {
    // A read-only tree works too; the comparison is simply made again next time.
  }
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = LEAST;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
  fail(
    `Farebox needs Node ${LEAST.join('.')} or newer; this is ${process.versions.node}. Install a current one from https://nodejs.org and try again.`,
  );
}

function npm(args) {
  const windows = process.platform === 'win32';
  return spawnSync(windows ? 'npm.cmd' : 'npm', args, { cwd: ROOT, stdio: ['ignore', 2, 2], shell: windows }).status === 0;
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function fail(text) {
  say(text);
  process.exit(1);
}
