import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { SMTPServer } from 'smtp-server';
import { afterEach, expect, test } from 'vitest';
import { createMailer, type Mail, type Mailer } from '../../src/mail/mailer.js';

const mail: Mail = { kind: 'reset', to: 'ada@example.com', link: 'https://pay.example.com/reset-password#token=abc', minutes: 60 };
const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

/** A real mail server that takes mail as long as `answer` says nothing. */
async function mailServer(answer: (attempt: number) => (Error & { responseCode?: number }) | undefined = () => undefined) {
  const received: { from: string; to: string[]; text: string }[] = [];
  let attempts = 0;
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    authOptional: true,
    onAuth: ({ username, password }, _session, done) =>
      username === 'fare' && password === 'box' ? done(null, { user: 'fare' }) : done(new Error('no such user')),
    onData: (stream, session, done) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        const problem = answer(++attempts);
        if (problem) return done(problem);
        const { mailFrom, rcptTo } = session.envelope;
        received.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(parts).toString('utf8'),
        });
        done();
      });
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  opened.push({ close: () => new Promise<void>((done) => server.close(() => done())) });
  const { port } = server.server.address() as AddressInfo;
  return { received, attempts: () => attempts, url: `smtp://fare:box@127.0.0.1:${port}` };
}

function mailer(smtpUrl: string | null): { mailer: Mailer; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) });
  const settings = smtpUrl === null ? null : { from: 'Farebox <no-reply@example.com>', smtpUrl };
  const made = createMailer({ settings, product: 'Farebox', log, retryMs: [5, 5] });
  opened.unshift(made);
  return { mailer: made, lines };
}

const readable = (text: string): string => text.replaceAll('=\r\n', '').replaceAll('=3D', '=');

test('a mail arrives with text and HTML, marked as sent by a program', async () => {
  const server = await mailServer();
  const { mailer: post, lines } = mailer(server.url);
  expect(post.provesAddresses).toBe(true);
  post.send(mail);
  await post.idle();
  expect(server.received).toHaveLength(1);
  const [got] = server.received;
  expect(got).toMatchObject({ from: 'no-reply@example.com', to: ['ada@example.com'] });
  const text = readable(got?.text ?? '');
  expect(text).toMatch(/^From: Farebox <no-reply@example\.com>/m);
  expect(text).toMatch(/^Subject: Set a new password for Farebox/m);
  expect(text).toMatch(/^Auto-Submitted: auto-generated/m);
  expect(text).toContain('Content-Type: text/plain');
  expect(text).toContain('Content-Type: text/html');
  expect(text.split(mail.link).length).toBeGreaterThan(3);
  expect(lines).toEqual([]);
});

test('a server that is busy is asked again; one that refuses is not', async () => {
  const busy = await mailServer((attempt) => (attempt < 3 ? Object.assign(new Error('later'), { responseCode: 451 }) : undefined));
  const one = mailer(busy.url);
  one.mailer.send(mail);
  await one.mailer.idle();
  expect([busy.attempts(), busy.received.length]).toEqual([3, 1]);

  const strict = await mailServer(() => Object.assign(new Error('never'), { responseCode: 554 }));
  const two = mailer(strict.url);
  two.mailer.send(mail);
  await two.mailer.idle();
  expect([strict.attempts(), strict.received.length]).toEqual([1, 0]);
  expect(two.lines.map(({ msg }) => msg)).toEqual(['a mail could not be sent']);
  expect(JSON.stringify(two.lines)).not.toContain('#token');
});

test('where no server listens it is given up after a few tries, and the log does not have the password', async () => {
  const { mailer: post, lines } = mailer('smtp://fare:very-secret@127.0.0.1:9');
  post.send(mail);
  await post.idle();
  expect(lines).toHaveLength(1);
  expect(JSON.stringify(lines)).not.toMatch(/very-secret|#token/);
});

test('without a mail server the whole message is in the log, and no link proves an address', async () => {
  const { mailer: post, lines } = mailer(null);
  expect(post.provesAddresses).toBe(false);
  post.send(mail);
  expect(lines).toMatchObject([
    { to: 'ada@example.com', subject: 'Set a new password for Farebox', text: expect.stringContaining(mail.link) },
  ]);
  expect(lines[0]?.['msg']).toContain('mail.smtp_url');
});
