import { writeFileSync } from 'node:fs';
import type { Claim } from '../claims/claim.js';
import { CLAIMS } from '../claims/claims.js';
import { runOracle } from '../oracle/run.js';
import { newSeed } from '../random.js';
import { type Arguments, readArguments, USAGE } from './arguments.js';
import { FAULTS, NOT_INFLICTED } from './faults.js';
import { oracleText, outcomeText, progressText, reportText } from './report.js';
import { type Progress, runTorture } from './run.js';

/** `npm run torture`: the real server, its real stores, and everything that can happen to them. Exit code 1 on any violation. */
async function main(): Promise<number> {
  const asked = readArguments(process.argv.slice(2));
  if (typeof asked === 'string') {
    process.stderr.write(`${asked}\n\n${USAGE}\n`);
    return 2;
  }
  const seed = asked.seed ?? newSeed();
  if (asked.list) {
    for (const { id, name } of [...CLAIMS, ...FAULTS]) process.stdout.write(`${id.padEnd(8)} ${name}\n`);
    return 0;
  }
  const say = (text: string) => void (asked.json || process.stdout.write(text));
  say(`seed ${seed}\n`);
  if (asked.only.includes('oracle')) {
    const report = await runOracle({ seed, runs: asked.runs, onProgress: (done) => say(`\r${done} of ${asked.runs} runs`) });
    process.stdout.write(asked.json ? `${JSON.stringify({ ...report, endings: [...report.endings] })}\n` : oracleText(report));
    return report.wrong.length === 0 && report.booksAreClean ? 0 : 1;
  }
  const claims = CLAIMS.filter(({ id }) => asked.only.includes(id));
  if (claims.length > 0) return runClaims(claims, asked, seed, say);
  const isLive = process.stdout.isTTY === true;
  let told = 0;
  const progress = (now: Progress): void => {
    say(progressText(now, isLive));
    for (const one of now.total.violations.slice(told, told + 10)) say(`${isLive ? '\n' : ''}VIOLATION  ${one}\n`);
    told = now.total.violations.length;
  };
  const report = await runTorture({
    seed,
    minutes: asked.minutes ?? 10,
    only: asked.only,
    built: asked.built,
    ...(asked.rounds === undefined ? {} : { rounds: asked.rounds }),
    ...(asked.atOnce === undefined ? {} : { atOnce: asked.atOnce }),
    tellEveryMs: isLive ? 1_000 : 10_000,
    onProgress: progress,
    onLog: (text) => asked.log && writeFileSync(asked.log, text),
  });
  const notRun = asked.only.length > 0 ? report.notRun : [...report.notRun, ...NOT_INFLICTED];
  process.stdout.write(asked.json ? `${JSON.stringify({ ...report, notRun })}\n` : reportText({ ...report, notRun }));
  return report.total.violations.length === 0 ? 0 : 1;
}

async function runClaims(claims: readonly Claim[], asked: Arguments, seed: number, say: (text: string) => void): Promise<number> {
  let violations = 0;
  for (const claim of claims) {
    const { rounds, minutes, atOnce, built } = asked;
    const started = Date.now();
    const outcome = await claim.run({ seed, rounds, minutes, atOnce, built, say: (line) => say(`${line}\n`) });
    violations += outcome.violations.length;
    const { id, name } = claim;
    process.stdout.write(
      asked.json ? `${JSON.stringify({ id, name, seed, ...outcome })}\n` : outcomeText(claim, outcome, seed, Date.now() - started),
    );
  }
  return violations === 0 ? 0 : 1;
}

process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));
main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);
