import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeAtExit } from '../leftovers.js';
import type { Customer, Product } from '../product.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import { type Claim, type ClaimOptions, type Outcome, worst } from './claim.js';
import { createInstallation } from './installation.js';
import { type Reply, STALL_CASES, type StallCase } from './stall-cases.js';

/** Of the processor, for one turn of the event loop. */
const PROMISED_MS = 50;
const AT_ONCE = 3;
const SETTLED_WITHIN_MS = 90_000;

/** The worst that may be sent and answered, some of it at once, and how long one turn of the gateway's loop kept the processor. */
export const stallClaim: Claim = {
  id: 'R10',
  name: 'no request and no answer, whatever is in it, stops the event loop for more than 50 ms',
  run: async (options) => {
    const folder = mkdtempSync(join(tmpdir(), 'farebox-proof-loops-'));
    const removeFolder = removeAtExit(folder);
    const upstream = new Replies();
    const site = await createInstallation({
      config: {
        server: { gateway_processes: 1 },
        upstreams: { fake: { base_url: await upstream.listen(), api_key: 'k', models: ['fake-*'] } },
      },
      env: { NODE_OPTIONS: `--import=${new URL('../loop-watch.mjs', import.meta.url).href}`, LOOP_WATCH: folder },
      built: options.built ?? false,
    });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const file = join(folder, String(product.parts().gateways[0] ?? 0));
      return await measure({ product, upstream, turns: turnsIn(file), customer: await product.customer(CREDITS) }, options);
    } finally {
      await site.remove();
      upstream.stop();
      removeFolder();
    }
  },
};

interface Turn {
  readonly busyMs: number;
  readonly lateMs: number;
}

interface Parts {
  readonly product: Product;
  readonly upstream: Replies;
  readonly turns: () => Turn[];
  readonly customer: Customer;
}

async function measure(parts: Parts, { rounds = 2, atOnce = AT_ONCE, say }: ClaimOptions): Promise<Outcome> {
  const seen: { name: string; turns: Turn[]; statuses: readonly number[] }[] = [];
  // The first time is the time it is compiled.
  for (let round = 0; round < rounds; round++) {
    for (const one of STALL_CASES) {
      const { statuses, turns } = await tried(parts, one, atOnce);
      const longest = worst(turns.map(({ busyMs }) => busyMs));
      if (longest >= PROMISED_MS / 2)
        say(`round ${round + 1} · ${one.name}: ${longest} ms, answered with ${[...new Set(statuses)].join(' and ')}`);
      if (round > 0 || rounds === 1) seen.push({ name: one.name, turns, statuses });
    }
  }
  const all = seen.map(({ name, turns }) => ({ name, ms: worst(turns.map(({ busyMs }) => busyMs)) })).sort((a, b) => b.ms - a.ms);
  const silent = seen.filter(({ statuses }) => statuses.includes(0)).map(({ name }) => `no answer at all: ${name}`);
  const long = all.filter(({ ms }) => ms > PROMISED_MS).map(({ name, ms }) => `${name}: ${ms} ms`);
  return {
    facts: [
      ['kinds of requests and answers, of each so many at once', `${STALL_CASES.length}, ${atOnce}`],
      ['longest turn, ms of the processor', all[0]?.ms ?? 0],
      [
        'and after it',
        all
          .slice(1, 4)
          .map(({ ms }) => ms)
          .join(', '),
      ],
      ['the kind that took longest', all[0]?.name ?? 'none'],
      [
        'a turn was over at most ms later than it was due, other processes included',
        worst(seen.flatMap(({ turns }) => turns.map(({ lateMs }) => lateMs))),
      ],
    ],
    violations: [...long, ...silent],
  };
}

async function tried({ product, upstream, turns, customer }: Parts, one: StallCase, atOnce: number) {
  upstream.next = one.answer();
  const body = Buffer.from(one.body());
  turns();
  const send = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${customer.token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${product.url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(60_000),
    });
    await answer.arrayBuffer().catch(() => undefined); // a stream that broke off was answered all the same
    return answer.status;
  };
  const statuses = await Promise.all(Array.from({ length: atOnce }, () => send().catch(() => 0)));
  await settled(product, customer);
  return { statuses, turns: turns() };
}

/** What was delivered may have to be counted after its last byte. */
async function settled(product: Product, { orgId }: Customer): Promise<void> {
  const until = Date.now() + SETTLED_WITHIN_MS;
  for (;;) {
    await sleep(100);
    const { body } = await product.api('GET', `/api/v1/orgs/${orgId}/balance`);
    if (microOf(body['in_flight']) === 0 && microOf(body['pending']) === 0) return;
    if (Date.now() > until) throw new Error(`still in flight: ${JSON.stringify(body)}`);
  }
}

const microOf = (amount: unknown): number => Number((amount as { readonly micro?: number } | undefined)?.micro);

/** What was written down since the last call. */
function turnsIn(file: string): () => Turn[] {
  let read = 0;
  return () => {
    let text = '';
    try {
      text = readFileSync(file, 'utf8');
    } catch {
      return []; // No turn was long yet.
    }
    const lines = text
      .slice(read)
      .split('\n')
      .filter((line) => line !== '');
    read = text.length;
    return lines.map((line) => {
      const [busyMs = 0, lateMs = 0] = line.split(' ').map(Number);
      return { busyMs, lateMs };
    });
  };
}

/** An upstream that answers everything with the same bytes, in one write. */
class Replies {
  next: Reply = { type: 'application/json', body: '{}' };
  private readonly server: Server = createServer((req, res) => {
    req.resume();
    req.on('end', () => {
      const { type, body } = this.next;
      res.writeHead(200, { 'content-type': type });
      res.end(body);
    });
  });

  async listen(): Promise<string> {
    await new Promise<void>((go) => this.server.listen(0, '127.0.0.1', go));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
