import { call } from '../../test/support/sse.js';
import { type Random, randomFrom } from '../random.js';
import { type Audit, addAudit, auditEntries, emptyAudit } from './audit.js';
import { checkBooks, quiet } from './books.js';
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
  readonly onProgress?: (now: Progress) => void;
  /** Gets everything the server wrote to its log. */
  readonly onLog?: (text: string) => void;
}

export interface Progress {
  readonly elapsedMs: number;
  readonly fault: string;
  readonly kills: number;
  readonly total: Audit;
}

export interface FaultLine extends Audit {
  readonly id: string;
  readonly name: string;
  times: number;
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
  let kills = 0;
  const world = await createWorld(random);
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
      const tell = () => options.onProgress?.({ elapsedMs: Date.now() - started, fault: `${fault.id} ${fault.name}`, kills, total });
      tell();
      const { audit, healMs } = await runRound(world, fault, `r${round}`, options.atOnce ?? LOAD_AT_ONCE);
      if (/kill|SIGTERM/.test(fault.name)) kills += 1;
      const line = lines.get(fault) ?? { ...emptyAudit(), id: fault.id, name: fault.name, times: 0, healMs: 0 };
      lines.set(fault, line);
      line.times += 1;
      line.healMs = Math.max(line.healMs, healMs);
      addAudit(line, audit);
      addAudit(total, audit);
      tell();
    }
  } finally {
    options.onLog?.(world.product.output());
    await world.remove();
  }
  for (const fault of chosen) if (!lines.has(fault) && !notRun.has(fault)) notRun.set(fault, 'its turn did not come');
  const missing = [...notRun].map(([{ id, name }, why]) => ({ id, name, why }));
  return { seed: options.seed, elapsedMs: Date.now() - started, lines: [...lines.values()], notRun: missing, total };
}

async function runRound(world: World, fault: Fault, prefix: string, atOnce: number): Promise<{ audit: Audit; healMs: number }> {
  const said = world.product.output().length;
  const load = startLoad(
    { url: world.product.url, token: world.customer.token, random: world.random },
    { prefix, atOnce, most: LOAD_MOST },
  );
  const wrong: string[] = [];
  let healMs = 0;
  try {
    await sleep(WARM_MS);
    await fault.inflict(world, load);
    healMs = await healed(world, prefix);
    await sleep(AFTER_MS);
  } catch (error) {
    wrong.push(`${fault.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  await load.stop();
  wrong.push(...(await quiet(world)));
  const audit = await settledAudit(world, load, fault).catch((error: unknown) => {
    wrong.push(`the round could not be audited: ${String(error)}`);
    return emptyAudit();
  });
  wrong.push(...(await checkBooks(world).catch((error: unknown) => [`the books could not be checked: ${String(error)}`])));
  const surprise = world.product
    .output()
    .slice(said)
    .match(/an error nobody expected.{0,400}/);
  if (surprise) wrong.push(`the log says: ${surprise[0]}`);
  audit.violations.push(...wrong);
  world.upstream.forget(load.entries.map(({ tag }) => tag));
  return { audit, healMs };
}

/** The upstream's log comes by message from its own process, so it may still be on its way. */
async function auditOf(world: World, load: Load, fault: Fault): Promise<Audit> {
  await Promise.race([world.upstream.quiet(), sleep(3_000)]);
  return auditEntries(world, load.entries, fault.allowed);
}

const RESOLVED_MS = 30_000;

/** After a crash the last settlements come from a journal; half a minute is what is promised for them. */
async function settledAudit(world: World, load: Load, fault: Fault): Promise<Audit> {
  const deadline = Date.now() + (fault.allowed.crash ? RESOLVED_MS : 0);
  for (;;) {
    const audit = await auditOf(world, load, fault);
    if ((audit.drift === 0 && audit.lost === 0) || Date.now() > deadline) return audit;
    await sleep(1_000);
    await quiet(world);
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
