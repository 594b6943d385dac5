import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataFolder } from '../../src/db/lock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'farebox-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a second server on the same folder is refused with the number of the first', () => {
  const first = lockDataFolder(folder);
  if (first.kind !== 'locked') throw new Error('the first lock was refused');
  const second = lockDataFolder(folder);
  expect(second).toMatchObject({ kind: 'taken', pid: process.pid });
  if (second.kind === 'taken') expect(second.sentence).toContain(`process ${process.pid}`);
  first.release();
  const third = lockDataFolder(folder);
  expect(third.kind).toBe('locked');
  if (third.kind === 'locked') third.release();
  expect(existsSync(join(folder, 'farebox.lock'))).toBe(false);
});

test('the lock of a process that is gone is taken over', () => {
  const gone = spawnSync(process.execPath, ['-e', 'process.stdout.write(String(process.pid))'], { encoding: 'utf8' });
  writeFileSync(join(folder, 'farebox.lock'), `${gone.stdout} 12345\n`);
  expect(lockDataFolder(folder).kind).toBe('locked');
});

test('the lock of a process whose number now belongs to another is taken over', () => {
  writeFileSync(join(folder, 'farebox.lock'), `${process.pid} 1\n`);
  expect(lockDataFolder(folder).kind).toBe(existsSync('/proc/self/stat') ? 'locked' : 'taken');
});

test('a lock file that says nothing is taken over', () => {
  writeFileSync(join(folder, 'farebox.lock'), '');
  expect(lockDataFolder(folder).kind).toBe('locked');
});
