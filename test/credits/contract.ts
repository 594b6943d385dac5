import { afterAll, beforeAll, describe } from 'vitest';
import type { CreditStore } from '../../src/credits/store.js';
import { describeEndings } from './endings.js';
import { describeLimits } from './limits.js';
import { describeLives } from './lives.js';
import { describeProperties } from './properties.js';

/** Moves time on, at least this far. Redis has a clock of its own, so there it is waited for. */
export type Wait = (ms: number) => Promise<void>;

/** A store under test, empty; `close` takes everything with it. */
export interface Opened {
  readonly store: CreditStore;
  readonly wait: Wait;
  /** The store's own clock, roughly. */
  nowMs(): number;
  close(): Promise<void>;
}

/** What every hot store promises. Each implementation calls this from a test file of its own. */
export function describeCreditStore(name: string, open: () => Promise<Opened>): void {
  describe(name, () => {
    let opened: Opened;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(() => opened.close());
    const under = (): Opened => opened;
    describeLimits(under);
    describeEndings(under);
    describeLives(under);
    describeProperties(under);
  });
}
