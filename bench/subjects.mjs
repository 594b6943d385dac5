import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuNs, end, family, pinToSubject, start, startLines } from './processes.mjs';
import { freePort, until } from './stores.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** A subject: a port, a token to send, and the one process whose CPU and memory count. */
export async function startBare(upstreamPort) {
  const { child, next } = await startLines(here('./proxy.mjs'), [`http://127.0.0.1:${upstreamPort}`], { pin: 'subject' });
  const { port } = await next();
  return { name: 'bare proxy', port, pid: child.pid, token: 'none', stop: () => end(child) };
}

/**
 * The product as an operator runs it: Redis, Postgres, holds, metering, settlement, drain, logs and metrics on. One gateway
 * process is measured; the api and worker process, Redis and Postgres run beside the load generator.
 */
export async function startFarebox(upstreamPort, stores, { profileTo } = {}) {
  const data = mkdtempSync(join(stores.folder, 'farebox-'));
  const port = await freePort();
  const config = join(data, 'config.yaml');
  writeFileSync(config, JSON.stringify(configFor(upstreamPort)));
  const preload = profileTo ? { NODE_OPTIONS: `--import=${here('./profiler.mjs')}`, BENCH_PROFILE: profileTo } : {};
  const child = start(process.execPath, [...program(), 'start', '--config', config, '--data', data, '--port', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, REDIS_URL: stores.redisUrl, DATABASE_URL: stores.databaseUrl, NODE_ENV: 'production', ...preload },
  });
  const url = `http://127.0.0.1:${port}`;
  await until(
    () =>
      fetch(`${url}/readyz`).then(
        (answer) => answer.status === 200,
        () => false,
      ),
    child,
  );
  const token = await customer(url, readFileSync(join(data, 'operator.key'), 'utf8').trim());
  const pid = await gatewayPid(child.pid, url, token);
  pinToSubject(pid);
  return { name: 'farebox', port, pid, token, stop: () => end(child) };
}

/** The program as it is shipped; `bench/run.mjs` builds it first. */
const program = () => [here('../dist/src/cli.js')];

function configFor(upstreamPort) {
  return {
    server: { gateway_processes: 1, log_level: 'info' },
    gateway: { requests_max: 8_000 },
    credits: { value: '0.01 USD', base: 200 },
    upstreams: { bench: { base_url: `http://127.0.0.1:${upstreamPort}/v1`, models: ['bench-*'] } },
    models: { 'bench-*': { ratio: 0.1, output: '4x' } },
  };
}

async function customer(url, key) {
  const untilMs = Date.now() + 20_000;
  const post = async (path, body) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (answer.status === 503 && Date.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      return post(path, body); // the money path is ready before the management side is
    }
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { id } = await post('/api/v1/admin/orgs', { name: 'Bench' });
  await post(`/api/v1/admin/orgs/${id}/grants`, { credits: 100_000_000, reason: 'bench' });
  return (await post(`/api/v1/orgs/${id}/tokens`, { name: 'bench' })).secret;
}

/** The process that does the work when requests come in, whatever it is called. */
async function gatewayPid(pid, url, token) {
  const members = family(pid);
  const before = new Map(members.map((one) => [one.pid, cpuNs(one.pid)]));
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ model: 'bench-json', messages: [{ role: 'user', content: 'hello' }] });
  for (let i = 0; i < 500; i++) {
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body });
    if (answer.status !== 200) throw new Error(`the gateway answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
  }
  const worked = members
    .filter((one) => one.title.includes('node') || one.title.includes('farebox'))
    .map((one) => ({ ...one, ns: cpuNs(one.pid) - before.get(one.pid) }));
  const named = worked.filter((one) => /farebox.*gateway/.test(one.title));
  return (named.length === 1 ? named : worked).sort((a, b) => b.ns - a.ns)[0].pid;
}
