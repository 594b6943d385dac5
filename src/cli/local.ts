import { hostname } from 'node:os';
import { describeFinding } from '../config/finding.js';
import { type Loaded, loadConfig } from '../config/load.js';
import { openDatabase } from '../db/client.js';
import { migrate } from '../db/migrate.js';
import { pricesCheck } from './prices.js';
import { CliError, EXIT, type Verb, type VerbCall } from './verb.js';

/** What works on files and databases, without a running server. */
export const localVerbs: readonly Verb[] = [
  {
    name: 'start',
    summary: 'Start the server',
    operands: [],
    options: [
      { name: 'config', value: 'F', summary: 'the YAML file (FAREBOX_CONFIG, default ./config.yaml if it is there)' },
      { name: 'roles', value: 'LIST', summary: 'some of gateway,api,worker (default: all)' },
      { name: 'port', value: 'N', summary: 'where to listen (FAREBOX_PORT or PORT, default 8080)' },
      { name: 'host', value: 'H', summary: 'the address to listen on (FAREBOX_HOST, default 127.0.0.1)' },
      { name: 'data', value: 'DIR', summary: 'the data folder (FAREBOX_DATA, default ./data)' },
    ],
    run: ({ start, options }) => start(Object.fromEntries([...options].filter(([name]) => name !== 'json'))),
  },
  {
    name: 'check-config',
    summary: 'Read the configuration and say everything that is wrong with it',
    operands: ['F?'],
    options: [],
    run: checkConfig,
  },
  {
    name: 'migrate',
    summary: 'Bring the database of DATABASE_URL to the state this version needs',
    operands: [],
    options: [],
    notes: ['The server does this by itself when it starts. Running it twice changes nothing.'],
    run: runMigrations,
  },
  pricesCheck,
  notYet(
    'prices import',
    'Read prices from a one-api or new-api table',
    'Write them under `models:` in the YAML: `ratio` means the same there.',
  ),
];

function checkConfig(call: VerbCall): number {
  const loaded = load(call);
  const findings = loaded.ok ? loaded.warnings : loaded.findings;
  if (call.isJson) call.out.json({ ok: loaded.ok, file: loaded.file, findings });
  else {
    for (const finding of findings) call.out.line(describeFinding(finding, loaded.file));
    const source = loaded.file ?? 'the environment and the defaults (no configuration file)';
    call.out.line(loaded.ok ? `Good: ${source}.` : `Not good: ${source}. A server would not start with it.`);
  }
  return loaded.ok ? EXIT.good : EXIT.failed;
}

async function runMigrations(call: VerbCall): Promise<number> {
  const url = databaseUrl(call);
  if (url === null) {
    throw new CliError(
      'DATABASE_URL is not set. Without it the database lives in the data folder and is migrated by "farebox start".',
      EXIT.failed,
    );
  }
  const db = openDatabase({ url, max: 1, name: 'farebox migrate' });
  try {
    const { applied } = await migrate(db, {
      owner: `cli-${hostname()}-${process.pid}`,
      onFile: (name) => (call.isJson ? undefined : call.out.line(name)),
    });
    if (call.isJson) call.out.json({ applied });
    else call.out.line(applied.length > 0 ? `${applied.length} migrations were run.` : 'Nothing to do: the database is up to date.');
    return EXIT.good;
  } finally {
    await db.close();
  }
}

export function load({ env, operands }: VerbCall): Loaded {
  const [file] = operands;
  return loadConfig({ env, ...(file === undefined ? {} : { file }) });
}

/** From the configuration as the server would read it. */
export function databaseUrl(call: VerbCall): string | null {
  const loaded = loadConfig({ env: call.env });
  if (loaded.ok) return loaded.settings.databaseUrl;
  throw new CliError(loaded.findings.map((finding) => describeFinding(finding, loaded.file)).join('\n'), EXIT.failed);
}

function notYet(name: string, summary: string, instead: string): Verb {
  return {
    name,
    summary: `${summary} (not there yet)`,
    operands: ['F?'],
    options: [],
    run: () => {
      throw new CliError(`"farebox ${name}" is not there yet in this version. ${instead}`, EXIT.usage);
    },
  };
}
