/** npm run test:data: the published data in full; takes minutes. Skipped where the data is absent. */
import { defineConfig } from 'vitest/config';
import { exclude, resolve } from './vitest.config.ts';

export default defineConfig({
  resolve,
  test: {
    reporters: ['default', './scripts/count-reporter.mjs'],
    include: ['**/*.data-test.ts'],
    exclude,
    testTimeout: 30 * 60_000,
    hookTimeout: 60_000,
  },
});
