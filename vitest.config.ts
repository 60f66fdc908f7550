import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Shared with vitest.data.config.ts. Feature repos in examples/ import the package by its name; tests run on its sources. */
export const resolve = {
  alias: { millrace: fileURLToPath(new URL('./index.ts', import.meta.url)) },
};

export const exclude = ['**/node_modules/**', '**/dist/**', '**/dist.*/**'];

export default defineConfig({
  test: {
    reporters: ['default', './scripts/count-reporter.mjs'],
    // Vitest's default leaves one core out, half of a machine with two; many files wait for servers meanwhile.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        resolve,
        // The time limit only ends what hangs; the 5 s default fails slow machines, not slow code.
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...exclude, 'test/**', 'loadtest/loadtest.test.ts'],
          // Serves `sharedServices`; starts none of them by itself.
          globalSetup: ['./services/testing/shared-services-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve,
        test: {
          name: 'end-to-end',
          include: ['test/**/*.test.ts', 'loadtest/loadtest.test.ts'],
          exclude,
          // The tests run the built CLI.
          globalSetup: ['./test/build-once.ts', './services/testing/shared-services-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
