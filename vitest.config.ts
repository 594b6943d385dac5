import { defineConfig } from 'vitest/config';

// Files say by their name what they need: *.stores.test.ts real Redis or Postgres, scenarios/ the whole product.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.stores.test.ts', 'test/scenarios/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'stores',
          include: ['test/**/*.stores.test.ts'],
          exclude: ['test/scenarios/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          globalSetup: ['test/support/stores.ts'],
        },
      },
      {
        test: {
          name: 'scenarios',
          include: ['test/scenarios/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          globalSetup: ['test/support/stores.ts'],
        },
      },
    ],
  },
});
