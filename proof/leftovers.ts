import { rmSync } from 'node:fs';

const steps = new Set<() => void>();
process.on('exit', () => {
  for (const step of [...steps].reverse()) attempt(step);
});

/** However this process ends, this is undone then; the answer undoes it now. */
export function undoAtExit(step: () => void): () => void {
  steps.add(step);
  return () => {
    steps.delete(step);
    attempt(step);
  };
}

export const removeAtExit = (path: string): (() => void) => undoAtExit(() => rmSync(path, { recursive: true, force: true, maxRetries: 3 }));

function attempt(step: () => void): void {
  try {
    step();
  } catch {
    // The next one still has its turn.
  }
}
