import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.js';

const folder = mkdtempSync(join(tmpdir(), 'farebox-proxies-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(said: string | null) {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, said === null ? '' : `server: { trusted_proxies: ${said} }\n`);
  return loadConfig({ file, env: {} });
}

test('nobody is trusted unless they are named', () => {
  const loaded = load(null);
  expect(loaded.ok && loaded.settings.trustedProxies).toEqual([]);
});

test('addresses and ranges are taken, four and six', () => {
  const loaded = load('[10.0.0.0/8, "2001:db8::/32", 192.0.2.7]');
  expect(loaded.ok && loaded.settings.trustedProxies).toEqual(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']);
});

test.each([
  ['a range of everybody', '[0.0.0.0/0]'],
  ['everybody in six', '["::/0"]'],
  ['a name', '[proxy.example.com]'],
  ['a range with too many bits', '[10.0.0.0/33]'],
  ['no list', '10.0.0.0/8'],
  ['true', 'true'],
])('%s is refused by its place', (_, said) => {
  const loaded = load(said);
  expect(loaded.ok).toBe(false);
  if (!loaded.ok) expect(loaded.findings[0]?.path).toMatch(/^server\.trusted_proxies/);
});

test('the operator key may be bound to ranges, and to at least one', () => {
  const of = (said: string) => {
    const file = join(folder, 'operator.yaml');
    writeFileSync(file, `server: { operator_key_ips: ${said} }\n`);
    return loadConfig({ file, env: {} });
  };
  const [bound, open, empty] = [of('[192.0.2.0/24, "::1"]'), of('null'), of('[]')];
  expect(bound.ok && bound.settings.operatorKeyIps).toEqual(['192.0.2.0/24', '::1']);
  expect(open.ok && open.settings.operatorKeyIps).toBeNull();
  expect(empty.ok).toBe(false);
});
