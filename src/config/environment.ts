import { readFileSync } from 'node:fs';
import type { Role, Settings } from '../domain/settings.js';
import { type Finding, findingAt } from './finding.js';
import { DATABASE_ALLOWED, DATABASE_URL, HOST, HOST_ALLOWED, LOG_LEVELS, REDIS_ALLOWED, REDIS_URL, ROLES } from './settings.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What the command line may say, as it was typed. */
export interface Overrides {
  readonly host?: string;
  readonly port?: string;
  readonly data?: string;
  readonly roles?: string;
}

interface Context {
  readonly env: Environment;
  readonly overrides: Overrides;
  readonly findings: Finding[];
}

/** Lays environment and command line over what the file says. Values of secrets are never shown, only their names. */
export function applyEnvironment(settings: Settings, context: Context): Settings {
  const { overrides } = context;
  const said = (option: keyof Overrides, ...names: readonly string[]): Said | undefined => {
    const value = overrides[option];
    return value === undefined ? envOf(context, ...names) : { name: `--${option}`, value };
  };
  const next: Settings = {
    ...settings,
    host: checked(context, said('host', 'FAREBOX_HOST'), { test: (text) => HOST.test(text), allowed: HOST_ALLOWED }) ?? settings.host,
    port: portOf(context, said('port', 'FAREBOX_PORT', 'PORT')) ?? settings.port,
    dataDir: said('data', 'FAREBOX_DATA')?.value ?? settings.dataDir,
    roles: rolesOf(context, said('roles')) ?? settings.roles,
    logLevel:
      checked(context, envOf(context, 'FAREBOX_LOG_LEVEL'), {
        test: (text) => LOG_LEVELS.some((level) => level === text),
        allowed: LOG_LEVELS.join(', '),
      }) ?? settings.logLevel,
    databaseUrl:
      checked(context, envOf(context, 'DATABASE_URL'), {
        test: (text) => DATABASE_URL.test(text),
        allowed: DATABASE_ALLOWED,
        isSecret: true,
      }) ?? settings.databaseUrl,
    redisUrl:
      checked(context, envOf(context, 'REDIS_URL'), { test: (text) => REDIS_URL.test(text), allowed: REDIS_ALLOWED, isSecret: true }) ??
      settings.redisUrl,
  };
  if (next.redisUrl && !next.databaseUrl) {
    context.findings.push({
      ...findingAt('REDIS_URL', 'REDIS_URL without DATABASE_URL', 'both, DATABASE_URL alone, or neither'),
      message:
        'REDIS_URL is set but DATABASE_URL is not. Redis only holds what is running; the ledger needs Postgres. Set DATABASE_URL too, or remove REDIS_URL.',
    });
  }
  return next;
}

export interface Said {
  readonly name: string;
  readonly value: string;
}

/** The first of these variables that is set, directly or as `NAME_FILE`; both at once is a mistake. */
export function envOf(context: Pick<Context, 'env' | 'findings'>, ...names: readonly string[]): Said | undefined {
  for (const name of names) {
    const direct = context.env[name];
    const path = context.env[`${name}_FILE`];
    if (direct && path) context.findings.push(findingAt(name, `both ${name} and ${name}_FILE`, 'one of the two'));
    if (direct) return { name, value: direct };
    if (path) {
      const value = fileText(path);
      if (value) return { name: `${name}_FILE`, value };
      context.findings.push(
        findingAt(`${name}_FILE`, `the path "${path}", which cannot be read or is empty`, 'the path of a readable file'),
      );
    }
  }
  return undefined;
}

function fileText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

interface Check {
  readonly test: (text: string) => boolean;
  readonly allowed: string;
  readonly isSecret?: boolean;
}

function checked(context: Context, said: Said | undefined, check: Check): string | undefined {
  if (!said) return undefined;
  if (check.test(said.value)) return said.value;
  const found = check.isSecret ? 'a value that is not shown here' : JSON.stringify(said.value.slice(0, 64));
  context.findings.push(findingAt(said.name, found, check.allowed));
  return undefined;
}

function portOf(context: Context, said: Said | undefined): number | undefined {
  const isPort = (text: string): boolean => /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
  const port = checked(context, said, { test: isPort, allowed: 'a port from 0 to 65535' });
  return port === undefined ? undefined : Number(port);
}

function rolesOf(context: Context, said: Said | undefined): readonly Role[] | undefined {
  const isRole = (text: string): text is Role => ROLES.some((role) => role === text);
  const test = (text: string): boolean => text.split(',').every(isRole);
  const text = checked(context, said, { test, allowed: 'gateway, api and worker, separated by commas' });
  return text === undefined ? undefined : ROLES.filter((role) => text.split(',').includes(role));
}
