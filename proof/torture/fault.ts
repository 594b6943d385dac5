import type { Allowance } from './audit.js';
import type { Load } from './load.js';
import type { World } from './world.js';

/** One way to hurt the installation. `inflict` hurts and, before it resolves, undoes what it did; healing is the product's. */
export interface Fault {
  /** The rows of the published matrix it covers. */
  readonly id: string;
  readonly name: string;
  readonly allowed: Allowance;
  /** Why it cannot be inflicted here; null when it can. */
  unavailable?(world: World): string | null;
  inflict(world: World, load: Load): Promise<void>;
}

export const NOTHING_ALLOWED: Allowance = { crash: false, refusals: false };
export const REFUSALS: Allowance = { crash: false, refusals: true };
export const CRASH: Allowance = { crash: true, refusals: true };

export const sleep = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

export async function within<T>(what: string, ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((go) => {
    timer = setTimeout(() => go(undefined), ms);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    throw new Error(what, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
