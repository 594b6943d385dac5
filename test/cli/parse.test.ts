import { describe, expect, test } from 'vitest';
import { createPrinter } from '../../src/cli/printer.js';
import { runCli, verbsOf } from '../../src/cli/run.js';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const clean = async () => ({ clean: true, checked: { accounts: 1 }, findings: [] });

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const [out, err]: [string[], string[]] = [[], []];
  const started: unknown[] = [];
  const code = await runCli(args, {
    env: { FAREBOX_URL: 'http://127.0.0.1:9', FAREBOX_CONFIG: '/nowhere/none.yaml', ...env },
    out: createPrinter({ out: { write: (text) => out.push(text) }, err: { write: (text) => err.push(text) } }),
    version: '9.9.9',
    reconcile: clean,
    start: async (options) => {
      started.push(options);
      return 0;
    },
  });
  return { code, out: out.join('') + started.map((one) => JSON.stringify(one)).join(''), err: err.join('') };
}

describe('what was probably meant', () => {
  test.each([
    [['balnce'], 'Did you mean "farebox balance"'],
    [['tokens'], 'Did you mean "farebox token"'],
    [['token', 'craete'], 'Did you mean "farebox token create"'],
    [['token'], 'There is: token create, token list'],
    [['grant', '--credit', '5'], 'Did you mean --credits'],
    [['grant', '--org', 'x'], 'Missing: --credits N, --reason TEXT'],
    [['org', 'create'], 'Missing: NAME'],
    [['org', 'create', 'Acme', 'GmbH'], 'needs quotes'],
    [['balance', '--org'], '--org needs a value'],
    [['balance', '--org', 'a', '--org', 'b'], 'given twice'],
    [['balance', '--org', 'a', '--json=yes'], 'takes no value'],
    [['--vresion'], 'lists what there is'],
    [['codes', 'create', '--count', '3'], 'Missing: --credits N'],
    [['prices', 'import'], 'not there yet'],
  ])('%j', async (args, says) => {
    const { code, out, err } = await run(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(says);
  });
});

test('every verb explains itself, and no help shows a secret', async () => {
  const names = verbsOf(clean).map(({ name }) => name);
  expect(names).toEqual(
    expect.arrayContaining([
      'start',
      'check-config',
      'migrate',
      'reconcile',
      'org create',
      'token create',
      'grant',
      'balance',
      'logs',
      'doctor',
    ]),
  );
  const all = await run(['--help'], { FAREBOX_OPERATOR_KEY: 'ok-fb-hidden' });
  for (const name of names) {
    expect(all.out).toContain(`farebox ${name}`);
    const help = await run([...name.split(' '), '--help'], { FAREBOX_OPERATOR_KEY: 'ok-fb-hidden' });
    expect([help.code, help.out.includes(`Usage: farebox ${name}`), help.out.includes('hidden')], name).toEqual([0, true, false]);
  }
});

test('start hands its options on as they were typed', async () => {
  const { out } = await run(['start', '--port', '0', '--roles=gateway,api', '--data', '/tmp/x', '--host', '::1', '--config', 'c.yaml']);
  expect(JSON.parse(out)).toEqual({ port: '0', roles: 'gateway,api', data: '/tmp/x', host: '::1', config: 'c.yaml' });
});

describe('when no server runs', () => {
  test('a sentence says how to start it', async () => {
    for (const args of [
      ['balance', '--org', 'x'],
      ['org', 'create', 'Acme'],
    ]) {
      for (const env of [{ FAREBOX_OPERATOR_KEY: 'ok-fb-x' }, { FAREBOX_DATA: '/nowhere' }] as Record<string, string>[]) {
        const { code, err } = await run(args, env);
        expect([code, err]).toEqual([1, expect.stringContaining('Start it with "farebox start"')]);
      }
    }
  });

  test('with --json the error is JSON too', async () => {
    const { code, out, err } = await run(['balance', '--org', 'x', '--json'], { FAREBOX_OPERATOR_KEY: 'ok-fb-x' });
    expect([code, err]).toEqual([1, '']);
    expect(JSON.parse(out).error.message).toContain('farebox start');
  });

  test('reconcile opens the stores itself when DATABASE_URL says where', async () => {
    const env = { DATABASE_URL: 'postgres://127.0.0.1:9/x', FAREBOX_OPERATOR_KEY: 'ok-fb-x', FAREBOX_CONFIG: '' };
    const { code, out } = await run(['reconcile', '--json'], env);
    expect([code, JSON.parse(out)]).toEqual([0, await clean()]);
    expect((await run(['reconcile'], { ...env, DATABASE_URL: '' })).code).toBe(1);
  });

  test('doctor finds it out without failing itself', async () => {
    const { code, out } = await run(['doctor', '--json'], { FAREBOX_CONFIG: '' });
    expect(code).toBe(1);
    const { checks } = JSON.parse(out) as { checks: { name: string; ok: boolean }[] };
    expect(checks.find(({ name }) => name === 'server')?.ok).toBe(false);
    expect(checks.find(({ name }) => name === 'node')?.ok).toBe(true);
  });
});

test('what a name contains cannot steer the terminal', () => {
  const written: string[] = [];
  createPrinter({ out: { write: (text) => written.push(text) }, err: { write: () => true } }).table(['NAME'], [['a\u001b[2Jb\u009b']]);
  expect(written.join('')).toBe('NAME\na?[2Jb?\n');
});
