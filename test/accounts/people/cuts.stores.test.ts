import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Database, openDatabase } from '../../../src/db/client.js';
import { reconcile } from '../../../src/ledger/reconcile.js';
import { openStore, type Rig, rigOf } from '../../api/harness.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';
import { startTcpProxy, type TcpProxy } from '../../support/proxy.js';
import { forgetTries, PASSWORD } from './accounts.js';
import { type Browser, type BrowserReply, mailbox, openBrowser } from './browser.js';
import { codeOf } from './totp.js';

let database: TestDatabase;
let proxy: TcpProxy;
/** Through the proxy, and straight to the server to see what is really there. */
let cuttable: Database;
let straight: Database;
let rig: Rig;
const mail = mailbox(false);

/** How many statements still pass before one is cut; it runs, and its answer is lost with the connection. */
let left = Number.POSITIVE_INFINITY;
let cuts = 0;

beforeAll(async () => {
  database = await freshDatabase(inject('databaseUrl'));
  const url = new URL(database.url);
  proxy = await startTcpProxy({ port: Number(url.port) });
  url.port = String(proxy.port);
  cuttable = openDatabase({ url: url.href, max: 1, timeoutMs: 5_000 });
  straight = openDatabase({ url: database.url, max: 2 });
  rig = rigOf(sabotaged(cuttable), await openStore(), { people: { mailer: mail } });
});
afterAll(async () => {
  await rig.deps.counter.close();
  await Promise.allSettled([cuttable.close(), straight.close()]);
  await proxy.stop();
  await database.drop();
});

function sabotaged(db: Database): Database {
  const query: Database['query'] = async (text, params, options) => {
    if (left-- !== 0) return db.query(text, params, options);
    cuts += 1;
    proxy.mode('swallow');
    setTimeout(() => {
      proxy.cutAll();
      proxy.mode('pass');
    }, 15);
    return db.query(text, params, options);
  };
  return { ...db, query, one: async (text, params, options) => (await query(text, params, options))[0] as never };
}

/** What a person does whose page says that the server did not answer: the same again. */
async function insists(ask: () => Promise<BrowserReply>): Promise<BrowserReply> {
  for (let i = 0; ; i++) {
    const reply = await ask();
    if (reply.status < 500) return reply;
    expect(reply.status, JSON.stringify(reply.body)).toBe(503);
    if (i === 5) throw new Error(`no answer after six tries: ${JSON.stringify(reply.body)}`);
  }
}

/** Runs a story again and again, cut one statement later each time, until it is over before it comes to that. */
async function cutEverywhere(story: (n: number) => Promise<void>): Promise<number> {
  for (let n = 0; ; n++) {
    await forgetTries({ ...rig, db: straight });
    left = n;
    const before = cuts;
    await story(n);
    left = Number.POSITIVE_INFINITY;
    if (cuts === before) return n;
    if (n > 120) throw new Error('the story has no end');
  }
}

/** Every story is somebody else's, from somewhere else: only so much may come from one address in a minute. */
const from = (n: number) => ({ address: `10.0.0.${n + 1}` });

const signsIn = (browser: Browser, email: string) =>
  insists(() => browser.send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD }));

test('a sign-up that is cut anywhere and repeated makes one person, one organization and one trial', async () => {
  const statements = await cutEverywhere(async (n) => {
    const email = `up${n}@example.com`;
    const browser = openBrowser(rig.app, from(n));
    const body = { email, password: PASSWORD, organization_name: 'Engines' };
    expect((await insists(() => browser.send('POST', '/api/v1/auth/sign-up', body))).body).toEqual({ status: 'accepted', next: 'sign_in' });
    expect((await signsIn(browser, email)).body).toEqual({ status: 'signed_in' });
    const me = await insists(() => browser.send('GET', '/api/v1/me'));
    expect(me.body).toMatchObject({ email, organizations: [{ name: 'Engines', role: { id: 'owner' } }] });
    const found = await straight.one(
      `select count(distinct p.person_id)::int as people, count(distinct l.login_id)::int as logins, count(distinct m.org_id)::int as orgs,
         count(distinct g.grant_id)::int as grants, max(b.avail) as avail
       from people p join logins l using (person_id) join org_members m using (person_id) join org_balances b using (org_id)
         join grants g using (org_id) where p.email = $1`,
      [email],
    );
    expect([n, found]).toEqual([n, { people: 1, logins: 1, orgs: 1, grants: 1, avail: 100_000_000 }]);
  });
  expect(statements).toBeGreaterThan(12);
  const orphans = await straight.query('select org_id from organizations where org_id not in (select org_id from org_members)');
  expect(orphans).toEqual([]);
  expect(await reconcile({ db: straight, store: rig.store })).toMatchObject({ clean: true });
}, 120_000);

test('switching the second factor on and off, cut anywhere, locks nobody out and leaves no secret behind', async () => {
  const statements = await cutEverywhere(async (n) => {
    const email = `two${n}@example.com`;
    const browser = openBrowser(rig.app, from(n));
    const quietly = left;
    left = Number.POSITIVE_INFINITY;
    await browser.send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD });
    await signsIn(browser, email);
    left = quietly;
    const secret = await switchesOn(browser, email);
    const other = openBrowser(rig.app, from(n));
    expect((await signsIn(other, email)).body['status'], `cut ${n}`).toBe('second_factor');
    const signedIn = await byCode(other, email, secret);
    expect([n, signedIn.body]).toEqual([n, { status: 'signed_in' }]);
    await insists(() => other.send('POST', '/api/v1/auth/totp/disable', { password: PASSWORD }));
    left = Number.POSITIVE_INFINITY;
    const rows = await straight.query(
      'select p.two_factor from people p where p.email = $1 and (p.two_factor or exists (select from two_factors t where t.person_id = p.person_id))',
      [email],
    );
    expect([n, rows]).toEqual([n, []]);
  });
  expect(statements).toBeGreaterThan(25);
}, 180_000);

/** Until it is on: a secret whose answer was lost is made anew, a session that was lost is opened again. */
async function switchesOn(browser: Browser, email: string): Promise<string> {
  for (let i = 0; i < 6; i++) {
    const enrolled = await insists(() => browser.send('POST', '/api/v1/auth/totp/enroll', { password: PASSWORD }));
    if (enrolled.status === 401) {
      await signsIn(browser, email);
      continue;
    }
    expect(enrolled.status, JSON.stringify(enrolled.body)).toBe(200);
    const secret = String(enrolled.body['secret']);
    const verified = await browser.send('POST', '/api/v1/auth/totp/verify', { code: codeOf(secret) });
    if (verified.status === 200) return secret;
    const on = await straight.one<{ two_factor: boolean; verified: boolean | null }>(
      'select p.two_factor, t.verified from people p left join two_factors t using (person_id) where p.email = $1',
      [email],
    );
    expect(on?.two_factor ?? false).toBe(on?.verified ?? false);
    if (on?.two_factor) return secret;
  }
  throw new Error('it could not be switched on');
}

async function byCode(browser: Browser, email: string, secret: string): Promise<BrowserReply> {
  for (let i = 0; i < 4; i++) {
    // Each try with another of the codes that are good just now: one may have been used by an answer that was lost.
    const code = codeOf(secret, Date.now() + ((i % 3) - 1) * 30_000);
    const reply = await insists(() => browser.send('POST', '/api/v1/auth/totp/verify', { code }));
    if (reply.status === 200) return reply;
    // The challenge was used up as well.
    await signsIn(browser, email);
  }
  throw new Error('the right code signed nobody in');
}

test('a reset that is cut anywhere has happened entirely or not at all', async () => {
  await cutEverywhere(async (n) => {
    const email = `reset${n}@example.com`;
    const quietly = left;
    left = Number.POSITIVE_INFINITY;
    const [browser, old] = [openBrowser(rig.app, from(n)), openBrowser(rig.app, from(n))];
    await browser.send('POST', '/api/v1/auth/sign-up', { email, password: PASSWORD });
    await signsIn(old, email);
    await browser.send('POST', '/api/v1/auth/password/forgot', { email });
    const token = mail.link(email);
    left = quietly;
    const password = 'the next long password';
    const reset = await browser.send('POST', '/api/v1/auth/password/reset', { token, password });
    left = Number.POSITIVE_INFINITY;
    const used = await straight.one<{ used: boolean; sessions: number }>(
      `select bool_or(l.used_at is not null) as used, (select count(*) from sessions s where s.person_id = p.person_id)::int as sessions
       from people p join person_links l using (person_id) where p.email = $1 group by p.person_id`,
      [email],
    );
    const isNew = (await browser.send('POST', '/api/v1/auth/sign-in', { email, password })).status === 200;
    if (reset.status === 200) expect(isNew).toBe(true);
    expect([n, used]).toEqual([n, isNew ? { used: true, sessions: 0 } : { used: false, sessions: 1 }]);
  });
}, 60_000);
