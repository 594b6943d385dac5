import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { PHASES } from './phases.mjs';

/** What Farebox may cost at most, as a multiple of the bare proxy (or, for the first token, added milliseconds). */
const TARGETS = {
  'JSON, 32 connections': { ratio: 2 },
  'JSON, 256 connections': { ratio: 2 },
  'JSON, 32 KB prompt': { ratio: 2.25 },
  'stream, 10 ms a chunk': { ratio: 1.15 },
  'first token': { added: 0.6 },
  'open streams': { value: 45 },
};

function median(numbers) {
  const sorted = numbers.filter((one) => one !== null && one !== undefined).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function rows(samples) {
  return PHASES.map((phase) => {
    const of = (subject, field = 'value') =>
      median(samples.filter((one) => one.phase === phase.name && one.subject === subject).map((one) => one[field]));
    const [bare, farebox, direct] = [of('bare proxy'), of('farebox'), of('direct')];
    const errors = samples.filter((one) => one.phase === phase.name && Object.keys(one.errors ?? {}).length > 0);
    return {
      phase,
      bare,
      farebox,
      direct,
      kinstr: of('farebox', 'kinstr'),
      bareKinstr: of('bare proxy', 'kinstr'),
      rps: of('farebox', 'rps'),
      bareRps: of('bare proxy', 'rps'),
      p50: of('farebox', 'p50'),
      p99: of('farebox', 'p99'),
      errors,
    };
  });
}

const show = (number, digits = 1) => (number === null || number === undefined ? '–' : number.toFixed(digits));

function table(samples) {
  const lines = [
    '| phase | unit | bare proxy | Farebox | ratio | target | thousand instructions (bare), ratio | requests/s (bare) | p50 / p99 ms |',
    '|---|---|---|---|---|---|---|---|---|',
  ];
  for (const row of rows(samples)) {
    const digits = row.phase.name === 'first token' ? 3 : 1;
    const target = TARGETS[row.phase.name];
    const rate = row.rps === null ? '' : `${show(row.rps, 0)} (${show(row.bareRps, 0)})`;
    const times = row.p50 === null ? '' : `${show(row.p50, 2)} / ${show(row.p99, 2)}`;
    const ratio = row.bare && row.farebox ? `${(row.farebox / row.bare).toFixed(2)}×` : '–';
    const { kinstr, bareKinstr } = row;
    const work = kinstr && bareKinstr ? `${show(kinstr)} (${show(bareKinstr)}), ${(kinstr / bareKinstr).toFixed(2)}×` : '';
    const costs = [show(row.bare, digits), show(row.farebox, digits), ratio, goal(target), work];
    lines.push(`| ${[row.phase.name, row.phase.unit, ...costs, rate, times].join(' | ')} |`);
  }
  return lines.join('\n');
}

function goal(target) {
  if (!target) return '';
  if (target.ratio) return `≤ ${target.ratio}×`;
  return target.added ? `added ≤ ${target.added} ms` : `≤ ${target.value}`;
}

function notes(samples) {
  const first = rows(samples).find((row) => row.phase.name === 'first token');
  const added = (value) => (value === null || first.direct === null ? '–' : `${((value - first.direct) * 1_000).toFixed(0)} µs`);
  const wrong = rows(samples).flatMap((row) => row.errors.map((one) => `${row.phase.name}, ${one.subject}: ${JSON.stringify(one.errors)}`));
  return [
    `Added to the first token (p50, over ${show(first.direct, 3)} ms without a proxy): bare proxy ${added(first.bare)}, Farebox ${added(first.farebox)}.`,
    wrong.length === 0 ? 'No request failed.' : `Failed requests: ${wrong.join('; ')}.`,
  ].join('\n');
}

export function print(samples) {
  process.stdout.write(`\n${table(samples)}\n\n${notes(samples)}\n`);
}

export function write(samples, about) {
  const file = fileURLToPath(new URL('./RESULTS.md', import.meta.url));
  // What is written by hand stands under headings of its own, behind the tables, and stays.
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const kept = before.includes('\n## ') ? before.slice(before.indexOf('\n## ')) : '';
  const versions = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')).packages;
  const of = (name) => `${name} ${versions[`node_modules/${name}`]?.version}`;
  const text = `# What a metered request costs

${new Date().toISOString().slice(0, 10)}, \`npm run bench${about.quick ? ' -- --quick' : ''}\`, medians of ${about.reps}, ${about.seconds} s each in rounds of a quarter, subjects taking turns.
Machine: ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GB, Linux ${release()}${about.canPin ? '; the measured process alone on the last core' : '; not pinned'}.
Node ${process.versions.node}, ${of('undici')}, ${of('hono')}, ${of('ioredis')}, ${of('postgres')}. ${about.stores}.

${table(samples)}

${notes(samples)}

**Bare proxy**: \`node:http\` in front, undici's \`dispatch\` behind, nothing in between (\`bench/proxy.mjs\`).
**Farebox**: one gateway process with everything on: token check, hold and settlement in Redis (append-only file on), metering, usage rows
drained into Postgres, logs, metrics. CPU is the run time of all threads of the gateway process, divided by the work done, after 20,000
requests to get warm. Instructions are those of the process in its own code and in the kernel (\`perf stat\`), and hardly depend on what else
the machine does; times do, and requests per second and milliseconds most of all. Compare ratios within one run only.

| phase | what |
|---|---|
| open streams | ${about.streams} streams, one chunk a second each; growth of memory per stream, of a process that has served and counted before |
| JSON | 1 KB prompt (or 32 KB), 1.1 KB completion, keep-alive connections |
| stream, 10 ms a chunk | 40 streams at a time, 200 chunks of about 240 bytes, one by one, as from a model |
| stream, full speed | 32 streams at a time, 200 chunks each, as fast as the upstream can write |
| first token | one stream at a time, request sent to first chunk received |
`;
  writeFileSync(file, text + kept);
  process.stdout.write('\nWritten to bench/RESULTS.md\n');
}
