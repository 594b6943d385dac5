import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Loaded } from '../../src/config/load.js';
import { type ConfigWatch, watchConfig } from '../../src/config/watch.js';

const open: ConfigWatch[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function start(make: (folder: string) => string): { folder: string; file: string; seen: Loaded[]; watching: ConfigWatch } {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-watch-'));
  folders.push(folder);
  const file = make(folder);
  const seen: Loaded[] = [];
  const watching = watchConfig({ file, load: { env: {} }, onChange: (loaded) => seen.push(loaded), settleMs: 50, pollMs: 100 });
  open.push(watching);
  watching.reload();
  seen.length = 0;
  return { folder, file, seen, watching };
}

const plain = (folder: string): string => {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, port(1));
  return file;
};
const port = (number: number): string => `server: { port: ${number} }\n`;
const ports = (seen: readonly Loaded[]): unknown[] => seen.map((one) => (one.ok ? one.settings.port : one.findings[0]?.line));

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !condition(); i++) await wait(20);
  expect(condition()).toBe(true);
}

test('an edit in place is seen once it is complete', async () => {
  const { file, seen } = start(plain);
  writeFileSync(file, port(2));
  await until(() => seen.length > 0);
  expect(ports(seen)).toEqual([2]);
});

test('an atomic replace is seen, again and again', async () => {
  const { folder, file, seen } = start(plain);
  for (const number of [2, 3]) {
    writeFileSync(join(folder, 'next'), port(number));
    renameSync(join(folder, 'next'), file);
    await until(() => ports(seen).at(-1) === number);
  }
  expect(ports(seen)).toEqual([2, 3]);
});

test('a swapped folder behind symlinks is seen', async () => {
  const { folder, seen } = start((root) => {
    mkdirSync(join(root, 'v1'));
    writeFileSync(join(root, 'v1', 'config.yaml'), port(1));
    symlinkSync('v1', join(root, '..data'));
    symlinkSync(join('..data', 'config.yaml'), join(root, 'config.yaml'));
    return join(root, 'config.yaml');
  });
  mkdirSync(join(folder, 'v2'));
  writeFileSync(join(folder, 'v2', 'config.yaml'), port(2));
  symlinkSync('v2', join(folder, 'tmp'));
  renameSync(join(folder, 'tmp'), join(folder, '..data'));
  await until(() => seen.length > 0);
  expect(ports(seen)).toEqual([2]);
});

test('a bad file yields its findings once, and a good one afterwards is news even if it is the old one', () => {
  const { file, seen, watching } = start(plain);
  writeFileSync(file, 'credits: {}\nserver: { port: -1 }\n');
  watching.reload();
  watching.reload();
  expect(ports(seen)).toEqual([2]);
  writeFileSync(file, port(1));
  watching.reload();
  expect(ports(seen)).toEqual([2, 1]);
});

test('a file that is gone is a finding, not a default configuration', () => {
  const { file, seen, watching } = start(plain);
  rmSync(file);
  expect(watching.reload().ok).toBe(false);
  expect(seen).toHaveLength(1);
});

test('a change that changes nothing effective is no news', () => {
  const { file, seen, watching } = start(plain);
  writeFileSync(file, `# a comment\n${port(1)}`);
  watching.reload();
  expect(seen).toEqual([]);
});
