import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import type { Product } from '../product.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import { type Claim, type ClaimOptions, type Outcome, quantile, worst } from './claim.js';
import { type Crush, type Crushed, startCrush } from './crush.js';
import { createInstallation } from './installation.js';
import { type Prober, startProber } from './prober.js';
import { startSoakUpstream } from './soak-upstream.js';
import { footprintOf } from './watch.js';

const PEAK_CONNECTIONS = 64;
const CRUSH_CONNECTIONS = 4_000;
const TIMES = 5;
const PHASE_MS = 3_000;
const BESIDE = 4;
/** Of the peak: those who say nothing cost something, and starve nobody. */
const NOT_STARVED = 0.8;
const IDLE = 10_000;
const SLOW = 200;

/** One gateway on one core, everything that asks on another: what it serves when five times as much is asked of it. */
export const overloadClaim: Claim = {
  id: 'R9',
  name: 'overload degrades, does not collapse; idle connections and slow clients starve nobody',
  run: async (options) => {
    const upstream = await startSoakUpstream();
    const crush = startCrush();
    const prober = startProber();
    const site = await createInstallation({
      config: { server: { gateway_processes: 1 }, upstreams: { fake: fake(upstream.url) } },
      built: options.built ?? false,
    });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const pids = [product.pid, ...product.parts().gateways, ...product.parts().office, site.redis.pid];
      const isPinned = pin(pids, 0) && pin([crush.pid, upstream.pid, prober.pid], 1);
      const { token } = await product.customer(CREDITS);
      const measured = await measure({ product, crush, prober, request: requestOf(token), options });
      return outcome(isPinned, measured);
    } finally {
      for (const one of [crush, upstream, prober]) one.stop();
      await site.remove();
    }
  },
};

const fake = (url: string) => ({ base_url: url, api_key: 'upstream-secret', models: ['fake-*'] });

function pin(pids: readonly number[], core: number): boolean {
  if (process.platform !== 'linux' || availableParallelism() < 2) return false;
  return pids.every((pid) => spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)]).status === 0);
}

function requestOf(token: string): string {
  const body = JSON.stringify({
    model: 'fake-model',
    user: 'instant',
    max_tokens: 50,
    messages: [{ role: 'user', content: 'Say something in ten words.' }],
  });
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    'host: localhost',
    `authorization: Bearer ${token}`,
    'content-type: application/json',
  ];
  return `${[...lines, `content-length: ${Buffer.byteLength(body)}`].join('\r\n')}\r\n\r\n${body}`;
}

interface Measured {
  readonly peaks: number[];
  readonly crushed: Crushed[];
  readonly health: number[];
  readonly quiet: number[];
  rssMb: number;
  /** Served a second beside those who say nothing, and right after they have left. */
  readonly beside: { readonly crowded: number; readonly calm: number }[];
  idleHealth: number[];
  idleLeft: number;
}

interface Parts {
  readonly product: Product;
  readonly crush: Crush;
  readonly prober: Prober;
  readonly request: string;
  readonly options: ClaimOptions;
}

/** Peak and crush by turns, so that whatever else the machine does hits both alike. */
async function measure({ product, crush, prober, request, options }: Parts): Promise<Measured> {
  const { rounds = 16, say } = options;
  const { port, url } = product;
  const seen: Measured = { peaks: [], crushed: [], health: [], quiet: [], beside: [], rssMb: 0, idleHealth: [], idleLeft: 0 };
  const gateway = product.parts().gateways[0] ?? 0;
  const memory = setInterval(() => {
    seen.rssMb = Math.max(seen.rssMb, footprintOf(gateway).rssMb);
  }, 200);
  const peak = () => crush.closed({ port, request, connections: PEAK_CONNECTIONS, forMs: PHASE_MS });
  const rateAtPeak = async () => (await peak()).rates['200'] ?? 0;
  await peak();
  for (let round = 0; round < rounds; round++) {
    const [calm] = await Promise.all([peak(), prober.times(`${url}/healthz`, PHASE_MS - 500).then(({ ms }) => seen.quiet.push(...ms))]);
    const rate = calm.rates['200'] ?? 0;
    seen.peaks.push(rate);
    const [crushed] = await Promise.all([
      crush.open({ port, request, connections: CRUSH_CONNECTIONS, forMs: PHASE_MS, perSecond: rate * TIMES }),
      prober.times(`${url}/healthz`, PHASE_MS - 500).then(({ ms }) => seen.health.push(...ms)),
    ]);
    seen.crushed.push(crushed);
    say(`peak ${rate}/s · ${TIMES} times that: ${JSON.stringify(crushed)}`);
    await sleep(1_000);
  }
  for (let round = 0; round < Math.min(rounds, BESIDE); round++) {
    const { open } = await crush.hold({ port, idle: IDLE, slow: SLOW });
    await sleep(1_000);
    const health = prober.times(`${url}/healthz`, 2 * PHASE_MS - 500).then(({ ms }) => seen.idleHealth.push(...ms));
    const crowded = [await rateAtPeak(), await rateAtPeak()];
    await health;
    await sleep(12_000);
    seen.idleLeft = Math.max(seen.idleLeft, (await crush.release()).open);
    const looks = prober.times(`${url}/healthz`, 2 * PHASE_MS - 500);
    const calm = [await rateAtPeak(), await rateAtPeak()];
    await looks;
    seen.beside.push(...crowded.map((rate, i) => ({ crowded: rate, calm: calm[i] ?? 0 })));
    say(`with ${open} connections that say nothing or little ${crowded.join(' and ')} a second, without ${calm.join(' and ')}`);
  }
  clearInterval(memory);
  return seen;
}

function outcome(isPinned: boolean, seen: Measured): Outcome {
  const peak = quantile(seen.peaks, 0.5);
  const goods = seen.crushed.map(({ rates }) => rates['200'] ?? 0);
  const good = quantile(goods, 0.5);
  // Over all rounds: what else the machine does changes every few seconds, and hits both alike in the long run.
  const share = sum(goods) / (sum(seen.peaks) || 1);
  const refused = seen.crushed.map(({ refused: { p99 } }) => p99);
  const violations: string[] = [];
  if (!(share >= 0.9)) violations.push(`goodput is ${Math.round(share * 100)} % of peak`);
  if (quantile(refused, 0.5) > 50) violations.push(`refusals take ${quantile(refused, 0.5)} ms`);
  if (quantile(seen.health, 0.99) > 100) violations.push(`/healthz takes ${quantile(seen.health, 0.99).toFixed(0)} ms`);
  if (seen.rssMb > 512) violations.push(`the gateway took ${seen.rssMb.toFixed(0)} MB`);
  const beside = sum(seen.beside.map(({ crowded }) => crowded)) / (sum(seen.beside.map(({ calm }) => calm)) || 1);
  if (!(beside >= NOT_STARVED)) violations.push(`beside idle connections only ${Math.round(beside * 100)} % of the peak were served`);
  const odd = new Set(seen.crushed.flatMap(({ rates }) => Object.keys(rates)).filter((status) => !/^(?:200|503|429|unsent)$/.test(status)));
  if (odd.size > 0) violations.push(`unexpected endings under load: ${[...odd].join(', ')}`);
  return {
    facts: [
      ['server and clients on cores of their own', isPinned ? 'yes' : 'no'],
      ['peak a second, median', peak],
      [
        'offered a second, median',
        quantile(
          seen.crushed.map(({ offered }) => offered),
          0.5,
        ),
      ],
      ['served a second, median', good],
      ['goodput, % of peak, over all rounds', Math.round(share * 100)],
      [
        'refused a second, median',
        quantile(
          seen.crushed.map(({ rates }) => rates['503'] ?? 0),
          0.5,
        ),
      ],
      [
        'a refusal takes ms, p50 / p99',
        `${quantile(
          seen.crushed.map(({ refused: { p50 } }) => p50),
          0.5,
        )} / ${quantile(refused, 0.5)}`,
      ],
      [
        'served ones take ms, p50 / p99',
        `${quantile(
          seen.crushed.map(({ served }) => served.p50),
          0.5,
        )} / ${quantile(
          seen.crushed.map(({ served }) => served.p99),
          0.5,
        )}`,
      ],
      ['/healthz ms at peak, p99', Math.round(quantile(seen.quiet, 0.99))],
      ['/healthz ms under overload, p99 / worst', `${Math.round(quantile(seen.health, 0.99))} / ${Math.round(worst(seen.health))}`],
      ['most memory of the gateway, MB', Math.round(seen.rssMb)],
      [`served beside ${IDLE} idle and ${SLOW} slow connections, % of the peak after it`, Math.round(beside * 100)],
      ['/healthz ms beside them, p99', Math.round(quantile(seen.idleHealth, 0.99))],
      ['of those connections open after 12 s', seen.idleLeft],
    ],
    violations,
  };
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
