// The clients of the bench: keep-alive sockets and the least parsing that still notices a wrong answer.
// Reads one job a line as JSON, answers one line a job.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const held = new Set();

/** As many requests as fit into the time, or so many, one after the other on each connection. */
async function json({ port, request, connections, seconds = 600, count = Number.POSITIVE_INFINITY }) {
  const bytes = Buffer.from(request, 'latin1');
  const until = performance.now() + seconds * 1_000;
  let left = count;
  const times = [];
  const errors = new Map();
  const started = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const client = new Client(port);
      while (performance.now() < until && left-- > 0) {
        const from = performance.now();
        const { problem } = await client.ask(bytes);
        if (problem) errors.set(problem, (errors.get(problem) ?? 0) + 1);
        else times.push(performance.now() - from);
        if (problem === 'closed' && client.tries > 20) break;
      }
      client.close();
    }),
  );
  return summary(times, errors, { seconds: (performance.now() - started) / 1_000 });
}

/** A fixed number of streams over some connections; the time to the first chunk is what is remembered. */
async function streams({ port, request, connections, count }) {
  const bytes = Buffer.from(request, 'latin1');
  let left = count;
  const times = [];
  const errors = new Map();
  let chunks = 0;
  await Promise.all(
    Array.from({ length: Math.min(connections, count) }, async () => {
      const client = new Client(port);
      while (left-- > 0) {
        const answer = await client.ask(bytes);
        if (answer.problem) errors.set(answer.problem, (errors.get(answer.problem) ?? 0) + 1);
        else times.push(answer.firstMs);
        chunks += answer.chunks;
      }
      client.close();
    }),
  );
  return summary(times, errors, { chunks });
}

/** Opens streams and keeps them until `release`. Answers when every one has had its first chunk. */
async function hold({ port, request, count }) {
  const bytes = Buffer.from(request, 'latin1');
  const errors = new Map();
  for (let done = 0; done < count; done += 100) {
    const firsts = Array.from({ length: Math.min(100, count - done) }, () => {
      const client = new Client(port);
      held.add(client);
      return client.first(bytes);
    });
    for (const problem of await Promise.all(firsts)) if (problem) errors.set(problem, (errors.get(problem) ?? 0) + 1);
  }
  return { open: held.size, errors: Object.fromEntries(errors) };
}

async function release() {
  for (const client of held) client.close();
  held.clear();
  return {};
}

function summary(times, errors, more) {
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
  return { done: times.length, p50: at(0.5), p99: at(0.99), errors: Object.fromEntries(errors), ...more };
}

class Client {
  constructor(port) {
    this.port = port;
    this.tries = 0;
    this.open();
  }

  open() {
    this.tries += 1;
    this.socket = connect({ port: this.port, host: '127.0.0.1', noDelay: true });
    this.socket.on('error', () => {});
    this.socket.on('data', (bytes) => this.read(bytes));
    this.socket.on('close', () => this.finish('closed'));
  }

  ask(bytes) {
    if (this.socket.destroyed) this.open();
    this.status = 0;
    this.length = -1;
    this.got = 0;
    this.tail = '';
    this.chunks = 0;
    this.from = performance.now();
    this.firstMs = null;
    return new Promise((done) => {
      this.done = done;
      this.socket.write(bytes);
    });
  }

  first(bytes) {
    return new Promise((done) => {
      this.onFirst = () => done(this.status === 200 ? undefined : `status ${this.status}`);
      void this.ask(bytes).then(({ problem }) => done(problem));
    });
  }

  read(bytes) {
    let body = bytes;
    if (this.status === 0) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return; // a head in two pieces does not happen on loopback with heads this small
      const head = bytes.latin1Slice(0, end);
      this.status = Number(head.slice(9, 12));
      const length = /content-length: *(\d+)/i.exec(head);
      this.length = length ? Number(length[1]) : -1;
      body = bytes.subarray(end + 4);
    }
    if (body.length === 0 && this.length !== 0) return;
    this.got += body.length;
    if (this.length >= 0) {
      if (this.got >= this.length) this.finish(this.status === 200 ? undefined : `status ${this.status}`);
      return;
    }
    for (let at = body.indexOf('data: '); at >= 0; at = body.indexOf('data: ', at + 6)) this.chunks += 1;
    if (this.firstMs === null && this.chunks > 0) {
      this.firstMs = performance.now() - this.from;
      this.onFirst?.();
    }
    this.tail = (this.tail + body.latin1Slice(Math.max(0, body.length - 8))).slice(-8);
    if (this.tail.endsWith('\r\n0\r\n\r\n')) this.finish(this.status === 200 ? undefined : `status ${this.status}`);
  }

  finish(problem) {
    const done = this.done;
    this.done = undefined;
    done?.({ problem, firstMs: this.firstMs, chunks: this.chunks });
  }

  close() {
    this.done = undefined;
    this.socket.destroy();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const result = await { json, streams, hold, release }[job.kind](job);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
