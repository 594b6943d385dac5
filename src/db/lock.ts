import { closeSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export type FolderLock =
  | { readonly kind: 'locked'; release(): void }
  | { readonly kind: 'taken'; readonly pid: number; readonly sentence: string };

const FILE = 'farebox.lock';
const ATTEMPTS = 5;

/**
 * Makes sure that one server uses a data folder. A lock whose process is gone, or whose number now belongs to another
 * process, is taken over.
 */
export function lockDataFolder(folder: string): FolderLock {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, FILE);
  const mine = `${process.pid} ${startOf(process.pid) ?? '-'}\n`;
  for (let i = 0; i < ATTEMPTS; i++) {
    if (create(path, mine)) return { kind: 'locked', release: () => release(path, mine) };
    const holder = read(path);
    if (holder?.alive) {
      const sentence =
        `The data folder ${folder} is already used by another Farebox server (process ${holder.pid}). ` +
        'Stop that one first, or start this one with another folder: --data DIR.';
      return { kind: 'taken', pid: holder.pid, sentence };
    }
    discard(path, holder?.text);
  }
  return { kind: 'taken', pid: 0, sentence: `The lock file ${path} keeps changing hands; start the server again in a moment.` };
}

/** Written completely before it gets its name, so nobody ever reads half a lock. */
function create(path: string, text: string): boolean {
  const draft = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  const file = openSync(draft, 'wx', 0o600);
  writeSync(file, text);
  closeSync(file);
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function read(path: string): { pid: number; alive: boolean; text: string } | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    const [pid = 0, start = '-'] = [Number.parseInt(text, 10), text.trim().split(' ')[1]];
    return { pid, alive: Number.isSafeInteger(pid) && pid > 0 && isRunning(pid) && (start === '-' || startOf(pid) === start), text };
  } catch {
    return undefined; // released just now
  }
}

/** Renamed before it is removed: of two servers that find the same stale lock only one can move it away. */
function discard(path: string, text: string | undefined): void {
  if (text === undefined) return;
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    if (readFileSync(aside, 'utf8') !== text) linkSync(aside, path); // somebody's fresh lock: put it back
  } catch {
    // Somebody else was faster; the next attempt sees what they left.
  }
  rmSync(aside, { force: true });
}

function release(path: string, mine: string): void {
  try {
    if (readFileSync(path, 'utf8') === mine) rmSync(path, { force: true });
  } catch {
    // The folder is gone, and the lock with it.
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process started, where the system says so: a number that was reused has another one. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
