/** One thing to say about the configuration: where, what was found, what is allowed. Errors keep the server from starting. */
export interface Finding {
  /** 0 when it is not about a place in the file (an environment variable, an argument). */
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly found: string;
  readonly allowed: string;
  readonly message: string;
  readonly severity: 'error' | 'warning';
}

/** One line a person can act on: `config.yaml:12:9 models.gpt-4o.ratio: found "-1"; allowed: a number above 0`. */
export function describeFinding(finding: Finding, file: string | null): string {
  const place = finding.line > 0 ? `${file ?? 'config'}:${finding.line}:${finding.column} ` : '';
  return `${finding.severity}: ${place}${finding.path}${finding.path ? ': ' : ''}${finding.message}`;
}

/** A mistake outside the file. */
export function findingAt(path: string, found: string, allowed: string): Finding {
  return { line: 0, column: 0, path, found, allowed, message: sentence(found, allowed), severity: 'error' };
}

export function sentence(found: string, allowed: string): string {
  return `found ${found}; allowed: ${allowed}`;
}

/** What was probably meant: the closest known word within two changes. */
export function meant(word: string, known: readonly string[]): string | undefined {
  let best: { readonly word: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = distanceOf(word.slice(0, 64).toLowerCase(), candidate.toLowerCase());
    if (distance <= Math.min(2, Math.ceil(candidate.length / 3)) && (!best || distance < best.distance))
      best = { word: candidate, distance };
  }
  return best?.word;
}

function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
