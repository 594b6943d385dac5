import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { PriceSource } from '../domain/prices.js';
import type { Settings } from '../domain/settings.js';
import { openYaml } from './cursor.js';
import { applyEnvironment, type Environment, type Overrides } from './environment.js';
import { type Finding, findingAt } from './finding.js';
import { readMail, readProviders, readSignUp } from './people.js';
import { readPrices } from './prices.js';
import { or, readBoolean } from './scalars.js';
import { readCompat, readCredits, readGateway, readLogs, readPricing, readServer } from './settings.js';
import { readUpstreams } from './upstreams.js';

export type Loaded =
  | {
      readonly ok: true;
      readonly settings: Settings;
      readonly prices: PriceSource;
      readonly warnings: readonly Finding[];
      /** Changes when anything effective changes, secrets behind `${…}` included. */
      readonly hash: string;
      /** The file that was read; null = defaults and environment only. */
      readonly file: string | null;
    }
  | { readonly ok: false; readonly findings: readonly Finding[]; readonly file: string | null };

export interface LoadOptions {
  /** Default: `FAREBOX_CONFIG`, else `./config.yaml` if it is there. */
  readonly file?: string;
  readonly env: Environment;
  /** What the command line says; wins over the environment, which wins over the file. */
  readonly overrides?: Overrides;
}

export const TOP = [
  'server',
  'credits',
  'admission',
  'on_exhaustion',
  'gateway',
  'errors',
  'upstreams',
  'demo',
  'groups',
  'models',
  'meters',
  'default_prices',
  'part_bounds',
  'signup',
  'mail',
  'oauth',
  'logs',
  'compat',
  'pricing',
] as const;

/** Reads everything and says everything that is wrong with it at once. The result is frozen. Never throws. */
export function loadConfig(options: LoadOptions): Loaded {
  const { env, overrides = {} } = options;
  const source = sourceOf(options);
  if ('finding' in source) return { ok: false, findings: [source.finding], file: source.file };
  const folder = source.file ? dirname(source.file) : process.cwd();
  const { root, findings } = openYaml(source.text, { env, readFile: (path) => readFileSync(resolve(folder, path), 'utf8') });
  const syntaxErrors = findings.some(({ severity }) => severity === 'error');
  if (syntaxErrors && !root.exists) return { ok: false, findings, file: source.file };

  const at = root.fields(TOP);
  const demo = or(at.demo, readBoolean, true);
  const { credits, base, trialCredits } = readCredits(at.credits);
  const fromFile: Settings = {
    ...readServer(at.server),
    credits,
    gateway: readGateway(at.gateway, { admission: at.admission, onExhaustion: at.on_exhaustion, errors: at.errors }),
    upstreams: readUpstreams(at.upstreams, demo),
    trialCredits,
    signUp: readSignUp(at.signup, trialCredits),
    mail: readMail(at.mail),
    providers: readProviders(at.oauth),
    logs: readLogs(at.logs),
    compat: readCompat(at.compat),
    pricing: readPricing(at.pricing),
  };
  const prices = readPrices(
    { base, groups: at.groups, models: at.models, meters: at.meters, defaults: at.default_prices, partBounds: at.part_bounds },
    credits.value,
    demo,
  );
  const settings = applyEnvironment(fromFile, { env, overrides, findings });
  if (findings.some(({ severity }) => severity === 'error')) return { ok: false, findings: inOrder(findings), file: source.file };
  const hash = createHash('sha256')
    .update(JSON.stringify([settings, prices]))
    .digest('hex')
    .slice(0, 16);
  return { ok: true, settings: freeze(settings), prices: freeze(prices), warnings: inOrder(findings), hash, file: source.file };
}

type Source = { readonly text: string; readonly file: string | null } | { readonly finding: Finding; readonly file: string };

function sourceOf({ file, env }: LoadOptions): Source {
  const named = file ?? (env['FAREBOX_CONFIG'] || undefined);
  const path = resolve(named ?? 'config.yaml');
  if (named === undefined && !existsSync(path)) return { text: '', file: null };
  try {
    return { text: readFileSync(path, 'utf8'), file: path };
  } catch (problem) {
    const why = (problem as NodeJS.ErrnoException).code ?? 'unreadable';
    return { finding: findingAt(path, `no readable file (${why})`, 'the path of a YAML file, by --config or FAREBOX_CONFIG'), file: path };
  }
}

const inOrder = (findings: readonly Finding[]): Finding[] => [...findings].sort((a, b) => a.line - b.line || a.column - b.column);

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) freeze(item);
  return Object.freeze(value);
}
