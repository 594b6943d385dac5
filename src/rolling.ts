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

/** The same for the office: its successor takes over the address, and only then it ends. */
export async function replaceOffice(
  worker: Worker | undefined,
  hire: () => Worker,
  retired: (worker: Worker) => void,
): Promise<'replaced' | 'gave_up'> {
  if (!worker) return 'replaced';
  if (!(await takesOver(hire()))) return 'gave_up';
  retired(worker);
  worker.process.kill('SIGTERM');
  return 'replaced';
}

function takesOver(worker: Worker): Promise<boolean> {
  return new Promise((resolve) => {
    worker.on('message', (message: Partial<TakenOver> | null) => {
      if (message?.farebox === 'taken over') resolve(true);
    });
    worker.once('exit', () => resolve(false));
  });
}

/** What an office tells the primary when requests reach it. */
type TakenOver = { readonly farebox: 'taken over' };

export const hasTakenOver = (): void => void process.send?.({ farebox: 'taken over' } satisfies TakenOver);

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
