import { call } from '../../test/support/sse.js';
import { type Random, randomFrom } from '../random.js';
import { type Audit, addAudit, auditEntries, emptyAudit } from './audit.js';
import { checkBooks, RESOLVED_MS, rest } from './books.js';
import { type Fault, sleep } from './fault.js';
import { FAULTS } from './faults.js';
import { type Load, startLoad } from './load.js';
import { bodyOf, pathOf, planOf } from './plans.js';
import { createWorld, type World } from './world.js';

export interface TortureOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Ids such as F13, or part of a name; empty = all. */
  readonly only?: readonly string[];
  /** At most this many rounds; a round is one fault. */
  readonly rounds?: number;
  readonly atOnce?: number;
  /** Run what `npm run build` made instead of the sources. */
  readonly built?: boolean;
  readonly onProgress?: (now: Progress) => void;
  /** How often within a round. */
  readonly tellEveryMs?: number;
  /** Gets everything the server wrote to its log. */
  readonly onLog?: (text: string) => void;
}

export interface Progress {
  readonly elapsedMs: number;
  readonly fault: string;
  readonly kills: number;
  /** What was audited, and of the round that runs what its clients have seen. */
  readonly total: Audit;
}

export interface FaultLine extends Audit {
  readonly id: string;
  readonly name: string;
  /** How often it was really done. */
  times: number;
  /** Rounds in which it could not be done, because its trap never sprang. */
  missed: number;
  /** Processes of the server that died of it. */
  kills: number;
  /** Milliseconds from the last answer until nothing was set aside any more: the worst of all times. */
  resolvedMs: number;
  /** Milliseconds from the end of the fault until a request is served again: the worst of all times. */
  healMs: number;
}

export interface TortureReport {
  readonly seed: number;
  readonly elapsedMs: number;
  readonly lines: readonly FaultLine[];
  readonly notRun: readonly { readonly id: string; readonly name: string; readonly why: string }[];
  readonly total: Audit;
}

const LOAD_AT_ONCE = 12;
const LOAD_MOST = 5_000;
const WARM_MS = 800;
const AFTER_MS = 1_000;

/** Hurts one installation in one way after the other, and after each checks every request and all books. */
export async function runTorture(options: TortureOptions): Promise<TortureReport> {
  const started = Date.now();
  const random = randomFrom(options.seed);
  const chosen = FAULTS.filter((fault) => isChosen(fault, options.only ?? []));
  if (chosen.length === 0) throw new Error(`no fault is called ${options.only?.join(', ')}`);
  const lines = new Map<Fault, FaultLine>();
  const notRun = new Map<Fault, string>();
  const total = emptyAudit();
  const world = await createWorld(random, options.built);
  try {
    let queue: Fault[] = [];
    for (let round = 0; round < (options.rounds ?? 10_000) && Date.now() - started < options.minutes * 60_000; round++) {
      if (queue.length === 0) queue = shuffled(random, chosen);
      const fault = queue.pop();
      if (!fault) break;
      const why = fault.unavailable?.(world) ?? null;
      if (why !== null) {
        notRun.set(fault, why);
        if (notRun.size === chosen.length) break;
        continue;
      }
      const tell = (running: Audit = total) =>
        options.onProgress?.({
          elapsedMs: Date.now() - started,
          fault: `${fault.id} ${fault.name}`,
          kills: world.toll.kills,
          total: running,
        });
      tell();
      const load = startLoad(
        { url: world.product.url, token: world.customer.token, random },
        { prefix: `r${round}`, atOnce: options.atOnce ?? LOAD_AT_ONCE, most: LOAD_MOST },
      );
      const ticking = setInterval(() => tell(withSeen(total, load)), options.tellEveryMs ?? 1_000);
      const done = await runRound(world, fault, `r${round}`, load).finally(() => clearInterval(ticking));
      const line = lines.get(fault) ?? emptyLine(fault);
      lines.set(fault, line);
      addRound(line, done);
      addAudit(total, done.audit);
      tell();
    }
  } finally {
    options.onLog?.(world.product.output());
    await world.remove();
  }
  for (const fault of chosen) if (!lines.has(fault) && !notRun.has(fault)) notRun.set(fault, 'its turn did not come');
  for (const [fault, { times }] of lines) if (times === 0) notRun.set(fault, 'its trap never sprang');
  const missing = [...notRun].map(([{ id, name }, why]) => ({ id, name, why }));
  return { seed: options.seed, elapsedMs: Date.now() - started, lines: [...lines.values()], notRun: missing, total };
}

interface Round {
  readonly audit: Audit;
  readonly times: number;
  readonly kills: number;
  readonly healMs: number;
  readonly resolvedMs: number;
}

const emptyLine = ({ id, name }: Fault): FaultLine => ({
  ...emptyAudit(),
  id,
  name,
  times: 0,
  missed: 0,
  kills: 0,
  healMs: 0,
  resolvedMs: 0,
});

function addRound(line: FaultLine, { audit, times, kills, healMs, resolvedMs }: Round): void {
  line.times += times;
  line.missed += times === 0 ? 1 : 0;
  line.kills += kills;
  line.healMs = Math.max(line.healMs, healMs);
  line.resolvedMs = Math.max(line.resolvedMs, resolvedMs);
  addAudit(line, audit);
}

/** Nobody has compared these with the books yet. */
function withSeen(audited: Audit, { entries }: Load): Audit {
  const count = (is: (status: number) => boolean) => entries.filter(({ result }) => result && is(result.status)).length;
  return {
    ...audited,
    requests: audited.requests + entries.length,
    admitted: audited.admitted + count((status) => status === 200),
    refused: audited.refused + count((status) => status === 503),
  };
}

async function runRound(world: World, fault: Fault, prefix: string, load: Load): Promise<Round> {
  const said = world.product.heard('surprise').count;
  const killed = world.toll.kills;
  const wrong: string[] = [];
  let healMs = 0;
  let times = 0;
  try {
    await sleep(WARM_MS);
    times = (await fault.inflict(world, load)) ?? 1;
    healMs = await healed(world, prefix);
    await sleep(AFTER_MS);
  } catch (error) {
    wrong.push(`${fault.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  await load.stop();
  const atRest = await rest(world);
  wrong.push(...atRest.wrong);
  const audit = await settledAudit(world, load, fault).catch((error: unknown) => {
    wrong.push(`the round could not be audited: ${String(error)}`);
    return emptyAudit();
  });
  wrong.push(...(await checkBooks(world, fault.allowed.refusals ? RESOLVED_MS : 0)));
  const { count, examples } = world.product.heard('surprise');
  if (count > said) wrong.push(`the log says ${count - said} times: ${examples[said] ?? examples.at(-1)}`);
  audit.violations.push(...wrong);
  world.upstream.forget(load.entries.map(({ tag }) => tag));
  return { audit, times, kills: world.toll.kills - killed, healMs, resolvedMs: atRest.resolvedMs };
}

/** The upstream's log comes by message from its own process, so it may still be on its way. */
async function auditOf(world: World, load: Load, fault: Fault): Promise<Audit> {
  await Promise.race([world.upstream.quiet(), sleep(3_000)]);
  return auditEntries(world, load.entries, fault.allowed);
}

/** After a crash the last settlements come from a journal; half a minute is what is promised for them. */
async function settledAudit(world: World, load: Load, fault: Fault): Promise<Audit> {
  const deadline = Date.now() + (fault.allowed.crash ? RESOLVED_MS : 0);
  for (;;) {
    const audit = await auditOf(world, load, fault);
    if ((audit.drift === 0 && audit.lost === 0) || Date.now() > deadline) return audit;
    await sleep(1_000);
    await rest(world);
  }
}

const HEAL_MAX_MS = 60_000;
const PROBE_MS = 5_000;

/** Asks until a request is served: the only proof that counts. */
async function healed(world: World, prefix: string): Promise<number> {
  const started = Date.now();
  for (let tries = 0; ; tries++) {
    const plan = planOf('embedding', world.random);
    const probe = call(`${world.product.url}${pathOf(plan)}`, {
      method: 'POST',
      token: world.customer.token,
      headers: { 'Content-Type': 'application/json' },
      body: bodyOf(plan, `probe-${prefix}-${tries}`),
    });
    const late = setTimeout(() => probe.hangUp(), PROBE_MS);
    const answer = await probe.end();
    clearTimeout(late);
    if (answer.status === 200) return Date.now() - started;
    if (Date.now() - started > HEAL_MAX_MS)
      throw new Error(`nothing was served for ${HEAL_MAX_MS} ms; the last answer was ${answer.status}`);
    await sleep(25);
  }
}

function isChosen(fault: Fault, only: readonly string[]): boolean {
  if (only.length === 0) return true;
  return only.some((word) => fault.id.split(',').includes(word) || fault.name.toLowerCase().includes(word.toLowerCase()));
}

function shuffled<Item>(random: Random, items: readonly Item[]): Item[] {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = random.whole(0, i);
    [list[i], list[j]] = [list[j] as Item, list[i] as Item];
  }
  return list;
}
