import type { Allowance } from './audit.js';
import type { Load } from './load.js';
import type { FaultProxy, Trap } from './proxy.js';
import type { World } from './world.js';

/** One way to hurt the installation. `inflict` hurts and, before it resolves, undoes what it did; healing is the product's. */
export interface Fault {
  /** The rows of the published matrix it covers. */
  readonly id: string;
  readonly name: string;
  readonly allowed: Allowance;
  /** Why it cannot be inflicted here; null when it can. */
  unavailable?(world: World): string | null;
  /** Resolves with how often it was really done; without a number it was done once. A trap may never spring. */
  inflict(world: World, load: Load): Promise<void> | Promise<number>;
}

export const NOTHING_ALLOWED: Allowance = { crash: false, refusals: false };
export const REFUSALS: Allowance = { crash: false, refusals: true };
export const CRASH: Allowance = { crash: true, refusals: true };

export const sleep = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

/** Kills, freezes or wakes a process of the server, and keeps count of the kills. */
export function kill({ toll }: Pick<World, 'toll'>, pid: number | undefined, signal: NodeJS.Signals = 'SIGKILL'): boolean {
  if (pid === undefined) return false;
  try {
    process.kill(pid, signal);
  } catch {
    return false; // It had ended already.
  }
  if (signal === 'SIGKILL') toll.kills += 1;
  return true;
}

const TRAP_MS = 8_000;

/** Whether the trap sprang: 1 or 0. */
export async function caught(proxy: FaultProxy, trap: Trap): Promise<number> {
  const sprung = proxy.trap(trap);
  const late = setTimeout(() => proxy.disarm(), TRAP_MS);
  try {
    return (await sprung) ? 1 : 0;
  } finally {
    clearTimeout(late);
  }
}
