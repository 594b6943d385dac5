import { counting } from './instructions.mjs';
import { cpuNs, rssKb } from './processes.mjs';

const CHUNKS = 200;
const words = 'Please read this paragraph and tell me in a few words what it says about fares. ';

/** The bytes of one request, written once and sent again and again. */
export function requestFor(subject, model, { bytes = 1_000, stream = false } = {}) {
  const content = words.repeat(Math.ceil(bytes / words.length)).slice(0, bytes);
  const body = JSON.stringify({ model, messages: [{ role: 'user', content }], ...(stream ? { stream: true } : {}), max_tokens: 512 });
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    'Host: bench',
    `Authorization: Bearer ${subject.token}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** What the work cost, per unit of it: processor time, and thousands of instructions where they can be counted. */
async function costOf(pid, units, work) {
  const { instructions, before, after, ...result } = await counting(pid, async () => {
    const start = pid ? cpuNs(pid) : 0;
    const done = await work();
    return { ...done, before: start, after: pid ? cpuNs(pid) : 0 };
  });
  const count = Math.max(1, result.done * units);
  const perUnit = (total) => (pid && total !== null ? total / 1_000 / count : null);
  return { ...result, value: perUnit(after - before), kinstr: perUnit(instructions) };
}

/** By then what is run often is compiled. */
const WARM = 20_000;

/** Many short rounds in turns: what else the machine does changes every few seconds, and should hit all subjects alike. */
function jsonPhase(name, connections, bytes, direct) {
  const jobOf = (subject) => ({ kind: 'json', port: subject.port, request: requestFor(subject, 'bench-json', { bytes }), connections });
  return {
    name,
    direct,
    unit: 'CPU µs per request',
    rounds: 4,
    warm: (subject, load) => load.ask({ ...jobOf(subject), count: WARM }),
    async measure(subject, load, { seconds }) {
      const job = { ...jobOf(subject), seconds: seconds / 4 };
      const { done, p50, p99, errors, seconds: took, value, kinstr } = await costOf(subject.pid, 1, () => load.ask(job));
      return { value, kinstr, rps: done / took, p50, p99, errors };
    },
  };
}

const settle = () => new Promise((go) => setTimeout(go, 2_000));

/**
 * Memory first, while the processes are new, but after some work: what is loaded once is there however many streams are open. The
 * tables of the tokenizer, say, are some 65 MB, and come with the first answer that has to be counted.
 */
const holdPhase = {
  name: 'open streams',
  direct: false,
  unit: 'KB per open stream',
  async warm(subject, load) {
    const { port } = subject;
    await load.ask({ kind: 'json', port, request: requestFor(subject, 'bench-json'), connections: 32, count: WARM });
    for (const model of ['bench-full', 'bench-silent']) await load.ask(streamJob(subject, model, 32, 200));
    await settle();
  },
  async measure(subject, load, { streams }) {
    const request = requestFor(subject, 'bench-hold', { stream: true });
    const before = rssKb(subject.pid);
    const { open, errors } = await load.ask({ kind: 'hold', port: subject.port, request, count: streams });
    await settle();
    const after = rssKb(subject.pid);
    await load.ask({ kind: 'release' });
    await settle();
    return { value: (after - before) / open, rssMb: after / 1_024, errors };
  },
};

const streamJob = (subject, model, connections, count) => ({
  kind: 'streams',
  port: subject.port,
  request: requestFor(subject, model, { stream: true }),
  connections,
  count,
});

const pacedPhase = {
  name: 'stream, 10 ms a chunk',
  direct: false,
  unit: 'CPU µs per chunk',
  rounds: 2,
  // Fast ones first: what happens once a stream would be compiled while it is measured, and two hundred streams are few for that.
  warm: async (subject, load) => {
    await load.ask(streamJob(subject, 'bench-full', 32, 2_000));
    await load.ask(streamJob(subject, 'bench-paced', 40, 80));
  },
  async measure(subject, load) {
    const { value, kinstr, errors } = await costOf(subject.pid, CHUNKS, () => load.ask(streamJob(subject, 'bench-paced', 40, 80)));
    return { value, kinstr, errors };
  },
};

const fullPhase = {
  name: 'stream, full speed',
  direct: false,
  unit: 'CPU µs per stream',
  warm: (subject, load) => load.ask(streamJob(subject, 'bench-full', 32, 600)),
  async measure(subject, load) {
    const { value, kinstr, errors } = await costOf(subject.pid, 1, () => load.ask(streamJob(subject, 'bench-full', 32, 2_000)));
    return { value, kinstr, errors };
  },
};

/** One stream at a time on an idle machine. Each ends at once, so that only the way to the first chunk counts. */
const firstTokenPhase = {
  name: 'first token',
  direct: true,
  unit: 'p50 ms',
  warm: (subject, load) => load.ask(streamJob(subject, 'bench-full', 1, 100)),
  async measure(subject, load) {
    const { p50, p99, errors } = await load.ask(streamJob(subject, 'bench-full', 1, 500));
    return { value: p50, p99, errors };
  },
};

export const PHASES = [
  holdPhase,
  jsonPhase('JSON, 32 connections', 32, 1_000, true),
  jsonPhase('JSON, 256 connections', 256, 1_000, false),
  jsonPhase('JSON, 32 KB prompt', 32, 32_000, false),
  pacedPhase,
  fullPhase,
  firstTokenPhase,
];
