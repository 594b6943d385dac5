import type { Claim, Outcome } from '../claims/claim.js';
import type { OracleReport } from '../oracle/run.js';
import type { FaultLine, Progress, TortureReport } from './run.js';

export function progressText({ elapsedMs, fault, kills, total }: Progress, isLive: boolean): string {
  const line = [
    clock(elapsedMs),
    `${total.requests} requests`,
    `${kills} kills`,
    `${total.admitted} admitted`,
    `${total.refused} refused`,
    `${credits(total.charged)} credits charged`,
    `drift ${total.drift} µcr`,
    total.violations.length > 0 ? `${total.violations.length} VIOLATIONS` : 'no violation',
    fault,
  ].join(' · ');
  return isLive ? `\r\u001b[2K${line.slice(0, (process.stdout.columns ?? 160) - 1)}` : `${line}\n`;
}

const COLUMNS = [
  'fault',
  'times',
  'kills',
  'requests',
  'charges',
  'refused',
  'duplicates',
  'lost',
  'drift µcr',
  'served again',
  'holds ended',
] as const;

/** One table, then whatever was wrong, then what was not run. */
export function reportText(report: TortureReport): string {
  const rows = report.lines.map((line) => [
    `${line.id} ${line.name}`,
    line.times,
    line.kills,
    line.requests,
    line.charges,
    line.refused,
    line.duplicates,
    line.lost,
    line.drift,
    `${line.healMs} ms`,
    `${line.resolvedMs} ms`,
  ]);
  const { total } = report;
  const sum = (pick: (line: FaultLine) => number): number => report.lines.reduce((all, line) => all + pick(line), 0);
  rows.push([
    'all',
    sum(({ times }) => times),
    sum(({ kills }) => kills),
    total.requests,
    total.charges,
    total.refused,
    total.duplicates,
    total.lost,
    total.drift,
    '',
    '',
  ]);
  const out = ['', table([COLUMNS, ...rows]), ''];
  for (const one of total.violations.slice(0, 50)) out.push(`VIOLATION  ${one}`);
  if (total.violations.length > 50) out.push(`… and ${total.violations.length - 50} more`);
  for (const { id, name, times, missed } of report.lines) {
    if (times > 0 && missed > 0) out.push(`not done in ${missed} rounds  ${id} ${name}: its trap did not spring`);
  }
  for (const { id, name, why } of report.notRun) out.push(`not run  ${id} ${name}: ${why}`);
  const verdict = total.violations.length === 0 ? 'Every invariant held' : `${total.violations.length} violations`;
  out.push('', `${verdict} in ${clock(report.elapsedMs)}. Seed ${report.seed}.`, '');
  return out.join('\n');
}

export function oracleText(report: OracleReport): string {
  const out = ['', `${report.runs} runs, ${report.endings.size} kinds of endings, ${credits(report.charged)} credits charged.`];
  for (const one of report.wrong.slice(0, 50))
    out.push(`WRONG  ${one.tag} ${one.ending}: ${one.about} is ${one.found}, expected ${one.expected}`);
  out.push(`${report.wrong.length} differences; reconcile ${report.booksAreClean ? 'clean' : 'NOT CLEAN'}. Seed ${report.seed}.`, '');
  return out.join('\n');
}

export function outcomeText({ id, name }: Claim, { facts, violations }: Outcome, seed: number, elapsedMs: number): string {
  const width = Math.max(...facts.map(([what]) => what.length));
  const out = ['', `${id}  ${name}`, ...facts.map(([what, value]) => `  ${what.padEnd(width)}  ${value}`)];
  for (const one of violations.slice(0, 50)) out.push(`VIOLATION  ${one}`);
  const verdict = violations.length === 0 ? 'Held' : `${violations.length} violations`;
  out.push(`${verdict} in ${clock(elapsedMs)}. Seed ${seed}.`, '');
  return out.join('\n');
}

function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => String(row[column] ?? '').length)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? String(cell).padEnd(widths[i] ?? 0) : String(cell).padStart(widths[i] ?? 0))).join('  '))
    .join('\n');
}

const clock = (ms: number): string => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`;
const credits = (micro: number): string => (micro / 1_000_000).toFixed(2);
