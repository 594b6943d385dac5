import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { base62 } from '../domain/ids.js';
import { isOperatorKey, newOperatorKey } from '../domain/secrets.js';
import { type Environment, envOf } from './environment.js';
import { type Finding, findingAt } from './finding.js';

export type Secrets =
  | {
      readonly ok: true;
      /** Key of everything that is digested or signed here. */
      readonly secret: string;
      readonly operatorKey: string;
      /** Where the operator finds the key; null when it came from the environment. */
      readonly operatorKeyFile: string | null;
    }
  | { readonly ok: false; readonly findings: readonly Finding[] };

/**
 * The two secrets of an installation: from the environment, else from the data folder, else made now. Findings name the
 * variable or file, never a value.
 */
export function resolveSecrets(options: { readonly env: Environment; readonly dataDir: string }): Secrets {
  const { env, dataDir } = options;
  const findings: Finding[] = [];
  const context = { env, findings };
  const isSet = (name: string): boolean => env[name] !== undefined || env[`${name}_FILE`] !== undefined;
  const secretSaid = envOf(context, 'FAREBOX_SECRET');
  const keySaid = envOf(context, 'FAREBOX_OPERATOR_KEY');
  for (const [name, said] of [
    ['FAREBOX_SECRET', secretSaid],
    ['FAREBOX_OPERATOR_KEY', keySaid],
  ] as const) {
    if (isSet(name) && !said && findings.length === 0)
      findings.push(findingAt(name, 'an empty text', 'a secret, or no such variable at all'));
  }
  if (findings.length > 0) return { ok: false, findings };

  const secret = secretSaid?.value ?? kept(join(dataDir, 'secret.key'), () => base62(48), findings);
  const operatorKeyFile = keySaid ? null : join(dataDir, 'operator.key');
  const operatorKey = keySaid?.value ?? kept(join(dataDir, 'operator.key'), newOperatorKey, findings);
  const secretName = secretSaid?.name ?? join(dataDir, 'secret.key');
  const keyName = keySaid?.name ?? join(dataDir, 'operator.key');
  const weakness = secretProblem(secret);
  if (findings.length === 0) {
    if (weakness) findings.push(findingAt(secretName, weakness, ALLOWED));
    if (!isOperatorKey(operatorKey))
      findings.push(
        findingAt(keyName, 'something that is not an operator key', 'ok-fb- followed by 38 characters, as this program makes them'),
      );
    if (secret.includes(operatorKey) || operatorKey.includes(secret))
      findings.push(findingAt(secretName, `the same value as ${keyName}`, 'a secret of its own for each purpose'));
  }
  return findings.length > 0 ? { ok: false, findings } : { ok: true, secret, operatorKey, operatorKeyFile };
}

const ALLOWED = 'at least 32 random characters; for example the output of: openssl rand -hex 32';

const LAZY =
  /change.?me|default|example|password|passwort|secret|farebox|qwerty|123456|abcdef(?!\d)|test|dummy|placeholder|xxxx|insert|your[-_ ]/i;

/** What is wrong with a secret, without showing it. */
export function secretProblem(secret: string): string | undefined {
  const bytes = Buffer.byteLength(secret);
  if (bytes === 0) return 'an empty text';
  if (bytes < 32) return `only ${bytes} bytes`;
  if (bytes > 4096) return `${bytes} bytes`;
  if (new Set(secret).size < 8) return 'a text of very few different characters';
  if (isRepeated(secret)) return 'a short text repeated';
  // A random text may contain a short word by chance; one that mostly consists of such words is no secret.
  const random = secret.replace(new RegExp(LAZY.source, 'gi'), '');
  if (Buffer.byteLength(random) < 24 || new Set(random).size < 8) return 'a text made of well-known words';
  return undefined;
}

function isRepeated(text: string): boolean {
  const found = (text + text).indexOf(text, 1);
  return found < text.length && text.length / found >= 2 && found < 24;
}

const setupFile = (dataDir: string): string => join(dataDir, 'operator.setup');

/** What lets the first operator make an account: kept beside the operator key until it was used. */
export function keepSetup(dataDir: string): string {
  const findings: Finding[] = [];
  const token = kept(setupFile(dataDir), () => base62(40), findings);
  if (findings[0]) throw new Error(findings[0].message);
  return token;
}

export const forgetSetup = (dataDir: string): void => rmSync(setupFile(dataDir), { force: true });

/**
 * Reads a file of the data folder, or makes it: written whole to a name of its own (mode 0600), then linked into place,
 * so that of two processes starting at once both end up with the same value and none sees half of it.
 */
function kept(path: string, make: () => string, findings: Finding[]): string {
  try {
    const found = readOrUndefined(path);
    if (found !== undefined) return found;
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    const draft = `${path}.${process.pid}.${base62(8)}`;
    writeFileSync(draft, `${make()}\n`, { mode: 0o600, flag: 'wx', flush: true });
    try {
      linkSync(draft, path);
    } catch (problem) {
      // Some mounts know no hard links; there a rename has to do.
      if (NO_LINKS.has((problem as NodeJS.ErrnoException).code ?? '')) renameSync(draft, path);
      else if ((problem as NodeJS.ErrnoException).code !== 'EEXIST') throw problem;
    } finally {
      rmSync(draft, { force: true });
    }
    return readFileSync(path, 'utf8').trim();
  } catch (problem) {
    findings.push(
      findingAt(
        path,
        `a file that cannot be read or made (${(problem as NodeJS.ErrnoException).code ?? 'error'})`,
        'a data folder this process may write to',
      ),
    );
    return '';
  }
}

const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP']);

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (problem) {
    if ((problem as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw problem;
  }
}
