import { statSync, watch } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type Loaded, type LoadOptions, loadConfig } from './load.js';

export interface ConfigWatch {
  /** Reads again now, whatever the file system says. */
  reload(): Loaded;
  close(): void;
}

export interface WatchOptions {
  readonly file: string;
  readonly load: Omit<LoadOptions, 'file'>;
  /**
   * Called with a good configuration that differs from the last good one, or with findings. After findings the last
   * good one stays in force; the same findings are not said twice.
   */
  readonly onChange: (loaded: Loaded) => void;
  /** The hash that is in force already. */
  readonly hash?: string;
  /** Editors write in several steps; half a file is not judged before this much silence. */
  readonly settleMs?: number;
  /** Network drives and container mounts report nothing: the file is also looked at this often. */
  readonly pollMs?: number;
}

/** Watches a file through its folder, so that an atomic replace or a swapped symlink is seen like an edit. */
export function watchConfig(options: WatchOptions): ConfigWatch {
  const { file, load, onChange, settleMs = 200, pollMs = 2_000 } = options;
  const path = resolve(file);
  let goodHash = options.hash ?? '';
  let lastSaid = '';
  let timer: NodeJS.Timeout | undefined;

  const reload = (): Loaded => {
    clearTimeout(timer);
    timer = undefined;
    const loaded = loadConfig({ ...load, file: path });
    const said = loaded.ok ? loaded.hash : JSON.stringify(loaded.findings);
    const isNews = loaded.ok ? loaded.hash !== goodHash || lastSaid !== '' : said !== lastSaid;
    if (loaded.ok) goodHash = loaded.hash;
    lastSaid = loaded.ok ? '' : said;
    if (isNews) onChange(loaded);
    return loaded;
  };
  const soon = (): void => {
    clearTimeout(timer);
    timer = setTimeout(reload, settleMs);
    timer.unref();
  };

  let seen = stampOf(path);
  const poll = setInterval(() => {
    const now = stampOf(path);
    if (now !== seen) soon();
    seen = now;
  }, pollMs);
  poll.unref();
  const watcher = watchFolder(path, soon);
  return {
    reload,
    close() {
      clearTimeout(timer);
      clearInterval(poll);
      watcher?.close();
    },
  };
}

/** Kubernetes swaps a symlink named `..data` beside the file, so any such name counts too. */
function watchFolder(path: string, changed: () => void): { close(): void } | undefined {
  try {
    const name = basename(path);
    const watcher = watch(dirname(path), { persistent: false }, (_, changedName) => {
      if (changedName === null || changedName === name || changedName.startsWith('..')) changed();
    });
    watcher.on('error', () => undefined); // the poll goes on
    return watcher;
  } catch {
    return undefined;
  }
}

/** Follows symlinks, so a swapped target shows as another inode. */
function stampOf(path: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(path);
    return `${mtimeMs}:${size}:${ino}`;
  } catch {
    return 'absent';
  }
}
