import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { loadConfig } from '../config/load.js';
import { openDatabase } from '../db/client.js';
import { ask, dataFolder, serverUrl } from './server.js';
import { EXIT, type Verb, type VerbCall } from './verb.js';

interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, and what to do about it. Never an address with a password in it. */
  readonly says: string;
}

export const doctorVerb: Verb = {
  name: 'doctor',
  summary: 'Look at everything a running Farebox needs, and say what is wrong',
  operands: [],
  options: [],
  notes: ['Changes nothing. Exits 0 when all is well and 1 when something is not.'],
  run: async (call) => {
    const loaded = loadConfig({ env: call.env });
    const settings = loaded.ok ? loaded.settings : null;
    const config: Check = loaded.ok
      ? good('configuration', loaded.file ?? 'no file: the defaults')
      : bad('configuration', `${loaded.findings.length} mistakes; "farebox check-config" names them`);
    const rest = await Promise.all([
      server(call),
      settings?.databaseUrl ? postgres(settings.databaseUrl) : good('postgres', 'embedded, inside the server'),
      settings?.redisUrl ? redis(settings.redisUrl) : good('redis', 'not used: the hot store is inside the server'),
    ]);
    const checks = [node(), config, data(call), ...rest.flat()];
    const ok = checks.every((check) => check.ok);
    if (call.isJson) call.out.json({ ok, checks });
    else
      call.out.table(
        ['', 'CHECK', 'FOUND'],
        checks.map((check) => [check.ok ? 'ok' : 'NOT OK', check.name, check.says]),
      );
    return ok ? EXIT.good : EXIT.failed;
  },
};

const good = (name: string, says: string): Check => ({ name, ok: true, says });
const bad = (name: string, says: string): Check => ({ name, ok: false, says });

function node(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNewEnough = major > 20 || (major === 20 && minor >= 19);
  return isNewEnough ? good('node', process.versions.node) : bad('node', `${process.versions.node}; at least 20.19 is needed`);
}

function data(call: VerbCall): Check {
  const folder = dataFolder(call);
  if (!existsSync(folder)) return good('data folder', `${folder} is not there yet; the first start makes it`);
  try {
    if (!statSync(folder).isDirectory()) return bad('data folder', `${folder} is a file`);
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return good('data folder', folder);
  } catch {
    return bad('data folder', `${folder} cannot be written by this user`);
  }
}

const SKEW_MS_MAX = 2_000;

async function server(call: VerbCall): Promise<Check[]> {
  const url = serverUrl(call.env);
  try {
    const asked = Date.now();
    const health = await ask(url, '/readyz');
    await health.arrayBuffer();
    const state = health.ok ? good('server', `${url} is ready`) : bad('server', `${url} answers, but is not ready (${health.status})`);
    return [state, ...clock('server clock', Date.parse(health.headers.get('date') ?? ''), asked)];
  } catch {
    return [bad('server', `nothing answers at ${url}; start it with "farebox start", or set FAREBOX_URL`)];
  }
}

async function postgres(url: string): Promise<Check[]> {
  const db = openDatabase({ url, max: 1, timeoutMs: 5_000, name: 'farebox doctor' });
  try {
    const asked = Date.now();
    const row = await db.one<{ now: Date; version: string }>("select now() as now, current_setting('server_version') as version");
    return [good('postgres', `answers, version ${row?.version}`), ...(row ? clock('postgres clock', row.now.getTime(), asked) : [])];
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'no answer';
    return [bad('postgres', `DATABASE_URL does not answer (${code})`)];
  } finally {
    await db.close().catch(() => undefined);
  }
}

/** A second of rounding in a Date header is no skew. */
function clock(name: string, theirs: number, asked: number): Check[] {
  if (!Number.isFinite(theirs)) return [];
  const skew = theirs < asked - 1_000 ? asked - 1_000 - theirs : Math.max(0, theirs - Date.now());
  if (skew <= SKEW_MS_MAX) return [good(name, 'agrees with this machine')];
  return [bad(name, `differs by ${Math.round(skew / 1_000)} s; leases and expiries need clocks that agree`)];
}

const REDIS_MS = 3_000;

/** Whatever is there has to answer a PING; a demand for a password is an answer too. */
async function redis(url: string): Promise<Check[]> {
  const targets = url
    .replace(/^redis-cluster:\/\//, '')
    .split(',')
    .map((one) => new URL(one.includes('://') ? one : `redis://${one}`));
  return Promise.all(
    targets.map(async (target) => {
      const place = `${target.hostname}:${target.port || '6379'}`;
      const answer = await ping(target).catch(() => '');
      return /^(?:\+PONG|-NOAUTH|-WRONGPASS|-NOPERM)/.test(answer)
        ? good('redis', `${place} answers`)
        : bad('redis', `${place} does not answer a PING within ${REDIS_MS / 1_000} s`);
    }),
  );
}

function ping(target: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const place = { host: target.hostname.replace(/^\[|\]$/g, ''), port: Number(target.port || 6379) };
    const socket = target.protocol === 'rediss:' ? connectTls(place) : connect(place);
    socket.setTimeout(REDIS_MS, () => socket.destroy(new Error('timeout')));
    socket.once('error', reject);
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes.toString('latin1', 0, 40));
      socket.destroy();
    });
    socket.write('PING\r\n');
  });
}
