import { expect, test } from 'vitest';
import { createPasswords, PasswordsBusy, passwordProblem } from '../../../src/accounts/people/passwords.js';

const cheap = createPasswords({ log2n: 10, r: 8, p: 1 });

test('a password matches its own hash, and its costs are written into it', async () => {
  const hash = await cheap.hash('correct horse battery');
  expect(hash).toMatch(/^scrypt\$10\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
  expect(await cheap.verify({ hash, password: 'correct horse battery' })).toBe(true);
  expect(await cheap.verify({ hash, password: 'correct horse batterx' })).toBe(false);
  expect(await cheap.hash('correct horse battery')).not.toBe(hash);
  // Whoever raises the costs later still lets everybody in.
  expect(await createPasswords({ log2n: 11, r: 8, p: 1 }).verify({ hash, password: 'correct horse battery' })).toBe(true);
});

test('two ways to type the same letters are the same password', async () => {
  expect(await cheap.verify({ hash: await cheap.hash('sch\u00f6ne lange worte'), password: 'scho\u0308ne lange worte' })).toBe(true);
});

test('a hash of another kind, or none, matches nothing', async () => {
  for (const hash of ['', 'scrypt', 'bcrypt$10$8$1$x$y', 'scrypt$10$8$1$$']) expect(await cheap.verify({ hash, password: '' })).toBe(false);
});

test('the standard costs what guessing should cost, and the event loop goes on meanwhile', async () => {
  const passwords = createPasswords();
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    if (!isOver) setTimeout(turn, 1);
  };
  turn();
  const hash = await passwords.hash('correct horse battery');
  await Promise.all(Array.from({ length: 4 }, () => passwords.verify({ hash, password: 'correct horse battery' })));
  isOver = true;
  expect(hash).toMatch(/^scrypt\$17\$8\$1\$/);
  // Done on this thread, five of them would leave a handful of turns between them; each takes a tenth of a second and more.
  expect(turns).toBeGreaterThan(50);
});

test('when too many wait the next is told so instead of waiting', async () => {
  const passwords = createPasswords({ log2n: 12, r: 8, p: 1 });
  const answers = await Promise.allSettled(Array.from({ length: 60 }, () => passwords.hash('correct horse battery')));
  const refused = answers.filter((one) => one.status === 'rejected');
  expect(refused.length).toBe(20);
  expect(refused.every((one) => one.reason instanceof PasswordsBusy)).toBe(true);
  expect(await passwords.hash('correct horse battery')).toMatch(/^scrypt/);
});

test.each([
  ['four words you will remember', undefined],
  ['Tr0ub4dor&3-and-more', undefined],
  ['passwords are like keys', undefined],
  ['elevenchars', /at least 12/],
  ['ÄÖÜäöüß€ÄÖÜ', /at least 12/],
  ['abababababab', /few different/],
  ['Password12345!', /first passwords/],
  ['123456789012345', /first passwords/],
  ['ada.lovelace@example.com', /e-mail address/],
  ['Ada.Lovelace123', /e-mail address/],
])('%s', (password, problem) => {
  const said = passwordProblem(password, 'ada.lovelace@example.com');
  if (problem) expect(said).toMatch(problem);
  else expect(said).toBeUndefined();
});
