import { defineConfig } from 'vitest/config';

// Whatever keeps a machine busy, or looks at how long somebody else waits while it is.
const ALONE = ['test/scenarios/proof/*.test.ts', 'test/scenarios/stall.test.ts', 'test/scenarios/crowds.test.ts'];
const setupFiles = ['test/support/seed.ts'];

// Files say by their name what they need: *.stores.test.ts real Redis or Postgres, *.long.test.ts seconds of a processor,
// scenarios/ the whole product.
// The groups run one after the other, so that a burst of unit tests does not slow down a test of the whole product.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.stores.test.ts', 'test/**/*.long.test.ts', 'test/scenarios/**'],
          setupFiles,
          testTimeout: 20_000,
          // Nothing here leaves anything behind, so files may share a process and what it has loaded.
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/**/*.long.test.ts'],
          exclude: ['test/scenarios/**'],
          setupFiles,
          testTimeout: 60_000,
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'stores',
          include: ['test/**/*.stores.test.ts'],
          exclude: ['test/scenarios/**'],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          globalSetup: ['test/support/stores.ts'],
          // Each file has a database, and keys or a server, of its own.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'scenarios',
          include: ['test/scenarios/*.test.ts'],
          exclude: ALONE,
          setupFiles,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          globalSetup: ['test/support/stores.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'alone',
          include: ALONE,
          setupFiles,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          globalSetup: ['test/support/stores.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
