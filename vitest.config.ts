import { defineConfig } from 'vitest/config';

const setupFiles = ['test/support/seed.ts'];

// Files say by their name what they need: *.stores.test.ts real Redis or Postgres, scenarios/ the whole product.
// The groups run one after the other, so that a burst of unit tests does not slow down a test of the whole product.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.stores.test.ts', 'test/scenarios/**'],
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
          name: 'stores',
          include: ['test/**/*.stores.test.ts'],
          exclude: ['test/scenarios/**'],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          globalSetup: ['test/support/stores.ts'],
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'scenarios',
          include: ['test/scenarios/**/*.test.ts'],
          setupFiles,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          globalSetup: ['test/support/stores.ts'],
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
