import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { resolveSecrets, secretProblem } from '../../src/config/secrets.js';
import { base62 } from '../../src/domain/ids.js';
import { isOperatorKey, newOperatorKey } from '../../src/domain/secrets.js';

const root = mkdtempSync(join(tmpdir(), 'farebox-secrets-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const fresh = (): string => join(root, `data${folders++}`, 'deep');
const STRONG = 'b4f0c29d7e1a58630f9e2d7c41ab6853';

const refusal = (env: Record<string, string>, dataDir = fresh()): string => {
  const found = resolveSecrets({ env, dataDir });
  if (found.ok) throw new Error('it was accepted');
  return JSON.stringify(found.findings);
};

// A22
test('nothing set: both secrets are made, kept readable only by their owner, and found again', () => {
  const dataDir = fresh();
  const first = resolveSecrets({ env: {}, dataDir });
  if (!first.ok) throw new Error(JSON.stringify(first.findings));
  expect(isOperatorKey(first.operatorKey)).toBe(true);
  expect(first.operatorKeyFile).toBe(join(dataDir, 'operator.key'));
  expect(readdirSync(dataDir).sort()).toEqual(['operator.key', 'secret.key']);
  for (const name of readdirSync(dataDir)) expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
  expect(resolveSecrets({ env: {}, dataDir })).toEqual(first);
});

test('two installations never share a secret', () => {
  const made = Array.from({ length: 5 }, () => resolveSecrets({ env: {}, dataDir: fresh() }));
  expect(new Set(made.map((one) => one.ok && one.secret)).size).toBe(5);
});

test('the environment wins and makes no files', () => {
  const key = newOperatorKey();
  const dataDir = fresh();
  expect(resolveSecrets({ env: { FAREBOX_SECRET: STRONG, FAREBOX_OPERATOR_KEY: key }, dataDir })).toEqual({
    ok: true,
    secret: STRONG,
    operatorKey: key,
    operatorKeyFile: null,
  });
  expect(() => readdirSync(dataDir)).toThrow();
});

test('a secret can come from a file', () => {
  const path = join(root, 'mounted');
  writeFileSync(path, `${STRONG}\n`);
  const found = resolveSecrets({ env: { FAREBOX_SECRET_FILE: path }, dataDir: fresh() });
  expect(found.ok && found.secret).toBe(STRONG);
});

const WEAK = [
  '',
  ' ',
  'changeme',
  '123456',
  'a'.repeat(64),
  'abababababababababababababababababababab',
  'changeme-changeme-changeme-changeme-changeme',
  'default-secret-please-change-me-now-123456',
  'your-secret-here-your-secret-here-your',
  '12345678901234567890123456789012',
  STRONG.slice(0, 31),
];

for (const weak of WEAK) {
  test(`the secret ${JSON.stringify(weak)} is refused by the name of its variable`, () => {
    const said = refusal({ FAREBOX_SECRET: weak });
    expect(said).toContain('FAREBOX_SECRET');
    if (weak.length > 6) expect(said).not.toContain(weak);
  });
}

test('random secrets are accepted, in hex and in base62', () => {
  for (let i = 0; i < 2000; i++) {
    expect(secretProblem(randomBytes(32).toString('hex'))).toBeUndefined();
    expect(secretProblem(base62(48))).toBeUndefined();
  }
});

test('a weak file in the data folder is refused by its path', () => {
  const dataDir = fresh();
  resolveSecrets({ env: {}, dataDir });
  writeFileSync(join(dataDir, 'secret.key'), 'changeme\n');
  expect(refusal({}, dataDir)).toContain('secret.key');
});

test('an operator key of another shape is refused without showing it', () => {
  const said = refusal({ FAREBOX_OPERATOR_KEY: 'ok-fb-canary', FAREBOX_SECRET: STRONG });
  expect(said).toContain('FAREBOX_OPERATOR_KEY');
  expect(said).not.toContain('canary');
});

// C3
test('two purposes may not share a value', () => {
  const key = newOperatorKey();
  const said = refusal({ FAREBOX_OPERATOR_KEY: key, FAREBOX_SECRET: key });
  expect(said).toContain('FAREBOX_SECRET');
  expect(said).not.toContain(key);
});

test('a data folder that cannot be written is said, not thrown', () => {
  const blocker = join(root, 'a-file');
  writeFileSync(blocker, '');
  chmodSync(blocker, 0o400);
  expect(refusal({}, join(blocker, 'data'))).toContain('cannot be read or made');
  expect(readFileSync(blocker, 'utf8')).toBe('');
});
