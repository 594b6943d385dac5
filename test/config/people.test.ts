import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { describeFinding } from '../../src/config/finding.js';
import { type Loaded, loadConfig } from '../../src/config/load.js';

const folder = mkdtempSync(join(tmpdir(), 'farebox-config-people-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'config.yaml');

function load(yaml: string, env: Record<string, string> = {}): Loaded {
  writeFileSync(file, yaml);
  return loadConfig({ file, env });
}

function settings(yaml: string, env: Record<string, string> = {}) {
  const loaded = load(yaml, env);
  if (!loaded.ok) throw new Error(loaded.findings.map((one) => describeFinding(one, 'c')).join('\n'));
  return { ...loaded.settings, warnings: loaded.warnings };
}

const said = (yaml: string, env: Record<string, string> = {}): string[] => {
  const loaded = load(yaml, env);
  return (loaded.ok ? loaded.warnings : loaded.findings).map((one) => describeFinding(one, 'c.yaml'));
};

test('without a word sign-up is automatic, trials last a month and no mail is sent', () => {
  expect(settings('')).toMatchObject({
    signUp: { enabled: 'auto', trialCredits: 100, trialDays: 30, allowedDomains: null },
    mail: null,
    providers: [],
  });
  expect(settings('credits: { trial: 7 }').signUp.trialCredits).toBe(7);
  expect(settings('credits: { trial: 7 }\nsignup: { trial_credits: 0 }').signUp.trialCredits).toBe(0);
});

test('what is said is read', () => {
  const yaml = `
signup: { enabled: true, trial_credits: 5, trial_days: 14, allowed_domains: [example.com, sub.example.org] }
mail: { from: "Farebox <no-reply@example.com>", smtp_url: "\${SMTP_URL}" }
oauth:
  acme: { label: Acme, issuer: https://id.acme.example/, client_id: one, client_secret: "\${SECRET}" }
`;
  expect(settings(yaml, { SMTP_URL: 'smtps://u:p@mail.example.com', SECRET: 'shh' })).toMatchObject({
    signUp: { enabled: true, trialCredits: 5, trialDays: 14, allowedDomains: ['example.com', 'sub.example.org'] },
    mail: { from: 'Farebox <no-reply@example.com>', smtpUrl: 'smtps://u:p@mail.example.com' },
    providers: [{ id: 'acme', label: 'Acme', issuer: 'https://id.acme.example', clientId: 'one', clientSecret: 'shh', trustEmail: false }],
    warnings: [],
  });
});

test.each([
  ['signup: { enabled: maybe }', /c\.yaml:1:20 signup\.enabled: found "maybe"; allowed: auto or true or false/],
  ['signup: { trial_days: 0 }', /signup\.trial_days: .*from 1 to 3650/],
  ['signup: { trial_credits: -5 }', /signup\.trial_credits: /],
  ['signup:\n  allowed_domains: ["@example.com"]', /c\.yaml:2:21 signup\.allowed_domains\[0\]: .*without @/],
  ['signup: { allowed_domains: [] }', /allowed_domains: found an empty list/],
  ['signup: { trial: 5 }', /unknown key "trial"/],
  ['mail: { from: a@example.com }', /mail: found no smtp_url/],
  ['mail: { from: nobody, smtp_url: "${SMTP_URL}" }', /mail\.from: found "nobody"; allowed: an address like/],
  ['mail: { from: "a@example.com\\r\\nBcc: b@example.com", smtp_url: "${SMTP_URL}" }', /mail\.from/],
  [
    'mail: { from: a@example.com, smtp_url: "http://mail" }',
    /mail\.smtp_url: found a value that is not shown here; allowed: a URL like smtp:/,
  ],
  ['oauth: { acme: { client_id: a, client_secret: "${S}" } }', /oauth\.acme: found neither of the two; allowed: an issuer/],
  ['oauth: { acme: { issuer: https://a.example, client_secret: "${S}" } }', /oauth\.acme: found no client_id/],
  ['oauth: { "A b": { issuer: https://a.example, client_id: a, client_secret: "${S}" } }', /found the name "A b"/],
  ['oauth: { a: { issuer: "http://169.254.169.254", client_id: a, client_secret: "${S}" } }', /cloud metadata/],
])('%s is refused with its place and what is allowed', (yaml, message) => {
  const found = said(yaml, { SMTP_URL: 'smtp://mail.example.com', S: 's' });
  expect(found.join('\n')).toMatch(message);
  expect(load(yaml, { SMTP_URL: 'smtp://mail.example.com', S: 's' }).ok).toBe(false);
});

test('a secret written out is warned of, and never shown', () => {
  const yaml = `
mail: { from: a@example.com, smtp_url: "smtp://u:hunter2@mail.example.com" }
oauth: { acme: { issuer: https://a.example, client_id: a, client_secret: hunter3 } }
`;
  const found = said(yaml);
  expect(found).toHaveLength(2);
  expect(found.every((one) => one.startsWith('warning: c.yaml:'))).toBe(true);
  expect(found.join('')).not.toMatch(/hunter/);
});
