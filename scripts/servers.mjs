import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fail, say } from './install.mjs';

/** How each package manager gets both servers. */
const MANAGERS = [
  { name: 'apt-get', root: true, lines: ['apt-get update', 'apt-get install -y --no-install-recommends redis-server postgresql'] },
  { name: 'apk', root: true, lines: ['apk add redis postgresql'] },
  { name: 'dnf', root: true, lines: ['dnf install -y redis postgresql-server'] },
  { name: 'pacman', root: true, lines: ['pacman -Sy --noconfirm redis postgresql'] },
  { name: 'brew', root: false, lines: ['brew install redis postgresql@17'] },
];

/** Folders where packages put Postgres without putting it on the PATH. */
function postgresFolders() {
  const parents = ['/usr/lib/postgresql', '/usr/libexec', '/opt/homebrew/opt', '/usr/local/opt', '/usr/local/Cellar'];
  const below = (parent) => (existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name)) : []);
  return [...parents.flatMap(below).flatMap((folder) => [join(folder, 'bin'), folder]), '/usr/pgsql-17/bin', '/usr/pgsql-16/bin'];
}

function has(program, folders = []) {
  return [...(process.env['PATH'] ?? '').split(delimiter), ...folders].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const hasRedis = () => process.env['REDIS_URL'] !== undefined || has('redis-server') || has('valkey-server');
const hasPostgres = () => process.env['TEST_DATABASE_URL'] !== undefined || has('initdb', postgresFolders());

/**
 * The tests start private servers of their own; here we only see to it that the programs are there. With root rights
 * they are installed, without them the exact line to run is printed.
 */
export function needServices() {
  if (hasRedis() && hasPostgres()) return;
  const missing = [...(hasRedis() ? [] : ['Redis']), ...(hasPostgres() ? [] : ['Postgres'])].join(' and ');
  const manager = MANAGERS.find(({ name }) => has(name));
  if (!manager) fail(`The tests need ${missing}. Install them, or set REDIS_URL and TEST_DATABASE_URL to servers that may be written to.`);
  const isRoot = process.getuid?.() === 0;
  const lines = manager.lines.map((line) => (manager.root && !isRoot ? `sudo ${line}` : line));
  if (manager.root && !isRoot) fail(`The tests need ${missing}. Run this once, then try again:\n\n  ${lines.join(' && ')}\n`);
  for (const line of lines) {
    say(`The tests need ${missing}: ${line}`);
    const [command, ...args] = line.split(' ');
    spawnSync(command, args, { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  }
  if (!hasRedis() || !hasPostgres())
    fail(`The installation did not bring ${missing}. Run this by hand, then try again:\n\n  ${lines.join(' && ')}\n`);
}
