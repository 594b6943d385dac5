import type { Worker } from 'node:cluster';

/** What the primary tells a gateway whose successor is there: finish what you have, take nothing new. */
export type Retire = { readonly farebox: 'retire' };

/**
 * Replaces processes one by one. The successor listens before its predecessor stops being asked, so nobody is refused and
 * no stream is cut. A successor that cannot start ends the round, and everybody else goes on as before.
 */
export async function replaceOneByOne(
  workers: readonly Worker[],
  hire: () => Worker,
  retired: (worker: Worker) => void,
): Promise<'replaced' | 'gave_up'> {
  for (const worker of workers) {
    if (!(await listens(hire()))) return 'gave_up';
    if (!worker.isConnected()) continue; // it died meanwhile, and has been started again
    retired(worker);
    worker.send({ farebox: 'retire' } satisfies Retire);
  }
  return 'replaced';
}

function listens(worker: Worker): Promise<boolean> {
  return new Promise((resolve) => {
    worker.once('listening', () => resolve(true));
    worker.once('exit', () => resolve(false));
  });
}

/** In a gateway: called once, when its successor has taken over. */
export function onRetire(act: () => void): void {
  process.on('message', (message: Partial<Retire> | null) => {
    if (message?.farebox === 'retire') act();
  });
}
