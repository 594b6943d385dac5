import { describe, expect, test } from 'vitest';
import { compose, type Mail } from '../../src/mail/compose.js';

const link = 'https://pay.example.com/page#token=abc';
const all: Mail[] = [
  { kind: 'verify', to: 'a@example.com', link },
  { kind: 'already_registered', to: 'a@example.com', link },
  { kind: 'reset', to: 'a@example.com', link, minutes: 60 },
  { kind: 'password_changed', to: 'a@example.com', link },
  { kind: 'invitation', to: 'a@example.com', link, by: 'Ada', organization: 'Acme', role: 'Developer', days: 7 },
  { kind: 'new_sign_in', to: 'a@example.com', link, at: '2026-11-21 06:00 UTC', address: '192.0.2.1', device: 'Firefox' },
  { kind: 'new_email', to: 'a@example.com', link },
  { kind: 'email_changed', to: 'a@example.com', link },
  { kind: 'account_deleted', to: 'a@example.com', link },
  { kind: 'two_factor_off', to: 'a@example.com', link, at: '2026-11-21 06:00 UTC' },
];

describe.each(all.map((mail) => [mail.kind, mail] as const))('%s', (_, mail) => {
  const made = compose(mail, 'Tollgate');

  test('names the product, and says in text and HTML what to do and what if it was not you', () => {
    expect(made.subject).toContain('Tollgate');
    expect(made.subject.length).toBeLessThan(80);
    for (const body of [made.text, made.html]) {
      expect(body).toContain(link);
      expect(body).toMatch(/[Ii]f it was not|[Ii]f you do not know/);
    }
    expect(made.text).not.toMatch(/<[a-z]/);
  });

  test('fetches nothing and says neither please nor oops', () => {
    expect(made.html).not.toMatch(/<img|<script|<link|src=|url\(/i);
    expect(`${made.subject} ${made.text}`).not.toMatch(/please|oops|!/i);
  });
});

test('a name of somebody’s choosing is text, not markup, and adds no header', () => {
  const by = '<b>Eve</b>\r\nBcc: everybody@example.com';
  const made = compose({ kind: 'invitation', to: 'a@example.com', link, by, organization: '"&<', role: 'x', days: 7 }, 'Tollgate');
  expect(made.html).not.toContain('<b>Eve');
  expect(made.html).toContain('&lt;b&gt;Eve&lt;/b&gt;');
  expect(made.html).toContain('&quot;&amp;&lt;');
  expect(made.subject).not.toMatch(/[\r\n]/);
});
