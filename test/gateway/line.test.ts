import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Line } from '../../src/gateway/line.js';

test('it is what a list would be from which the first is taken, however long it never empties', () => {
  const steps = fc.array(fc.record({ come: fc.nat(3_000), go: fc.nat(3_000) }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(steps, (all) => {
      const line = new Line<{ readonly name: number }>();
      const list: { readonly name: number }[] = [];
      let next = 0;
      for (const { come, go } of all) {
        for (let i = 0; i < come; i++) {
          const one = { name: next++ };
          line.push(one);
          list.push(one);
        }
        expect([line.length, line.head]).toEqual([list.length, list[0]]);
        const gone = list.splice(0, go);
        for (let i = 0; i < go; i++) if (line.shift() !== gone[i]) expect.fail(`the ${i}th to go was another one`);
      }
      expect([line.length, line.head]).toEqual([list.length, list[0]]);
    }),
    { numRuns: 60 },
  );
});
