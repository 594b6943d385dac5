import { readFileSync } from 'node:fs';

let known: string | undefined;

/** Of this program, as its package says. */
export function version(): string {
  known ??= read();
  return known;
}

function read(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as { version: string }).version;
    } catch {
      // The built program lies one folder deeper.
    }
  }
  return 'unknown';
}
