import { afterAll, beforeAll, describe } from 'vitest';
import { describeEndings } from './endings.js';
import { describeLimits } from './limits.js';
import { describeLives } from './lives.js';
import { describeMembers } from './members.js';
import type { Opened } from './opened.js';
import { describeProperties } from './properties.js';
import { describeServing } from './serving.js';

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
    describeMembers(under);
    describeEndings(under);
    describeLives(under);
    describeServing(under);
    describeProperties(under);
  });
}
