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

const usSince = (pid, before, work) => (cpuNs(pid) - before) / 1_000 / Math.max(1, work);

function jsonPhase(name, connections, bytes, direct) {
  return {
    name,
    direct,
    unit: 'CPU µs per request',
    async measure(subject, load, { seconds }) {
      const job = { kind: 'json', port: subject.port, request: requestFor(subject, 'bench-json', { bytes }), connections };
      await load.ask({ ...job, seconds: Math.max(1, seconds / 4) }); // warm
      const before = subject.pid ? cpuNs(subject.pid) : 0;
      const { done, p50, p99, errors, seconds: took } = await load.ask({ ...job, seconds });
      return { value: subject.pid ? usSince(subject.pid, before, done) : null, rps: done / took, p50, p99, errors };
    },
  };
}

/** Memory first, while the processes are fresh. */
const holdPhase = {
  name: 'open streams',
  direct: false,
  unit: 'KB per open stream',
  async measure(subject, load, { streams }) {
    const request = requestFor(subject, 'bench-hold', { stream: true });
    const warm = requestFor(subject, 'bench-full', { stream: true });
    await load.ask({ kind: 'streams', port: subject.port, request: warm, connections: 32, count: 200 });
    const before = rssKb(subject.pid);
    const { open, errors } = await load.ask({ kind: 'hold', port: subject.port, request, count: streams });
    await new Promise((go) => setTimeout(go, 2_000));
    const rss = rssKb(subject.pid);
    await load.ask({ kind: 'release' });
    await new Promise((go) => setTimeout(go, 2_000));
    return { value: (rss - before) / open, rssMb: rss / 1_024, errors };
  },
};

const pacedPhase = {
  name: 'stream, 10 ms a chunk',
  direct: false,
  unit: 'CPU µs per chunk',
  async measure(subject, load) {
    const request = requestFor(subject, 'bench-paced', { stream: true });
    const before = cpuNs(subject.pid);
    const { done, errors } = await load.ask({ kind: 'streams', port: subject.port, request, connections: 40, count: 80 });
    return { value: usSince(subject.pid, before, done * CHUNKS), errors };
  },
};

const fullPhase = {
  name: 'stream, full speed',
  direct: false,
  unit: 'CPU µs per stream',
  async measure(subject, load) {
    const job = { kind: 'streams', port: subject.port, request: requestFor(subject, 'bench-full', { stream: true }), connections: 32 };
    await load.ask({ ...job, count: 300 });
    const before = cpuNs(subject.pid);
    const { done, errors } = await load.ask({ ...job, count: 2_000 });
    return { value: usSince(subject.pid, before, done), errors };
  },
};

/** One stream at a time on an idle machine. Each ends at once, so that only the way to the first chunk counts. */
const firstTokenPhase = {
  name: 'first token',
  direct: true,
  unit: 'p50 ms',
  async measure(subject, load) {
    const job = { kind: 'streams', port: subject.port, request: requestFor(subject, 'bench-full', { stream: true }), connections: 1 };
    await load.ask({ ...job, count: 100 });
    const { p50, p99, errors } = await load.ask({ ...job, count: 500 });
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
