// Counting tests, for the reporter and for .ci/run.
import { join } from 'node:path';
import { root } from './checkout-state.mjs';

/** Outside dist and sources; removed by .ci/run before a run. */
export const countsFile = join(root, 'node_modules/.cache/millrace/test-counts.json');

export const countsLine = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed, ${skipped} skipped`;

/** Counts of finished modules. A module that could not be loaded, or an error outside tests, is a failure. */
export function countTests(modules, unhandledErrors) {
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  const skipped = [];
  for (const module of modules) {
    let failedInModule = 0;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') counts.passed++;
      else if (state === 'skipped') {
        counts.skipped++;
        skipped.push(`${module.relativeModuleId ?? module.moduleId} > ${test.fullName}`);
      } else {
        // A test that never finished counts as failed, too.
        counts.failed++;
        failedInModule++;
      }
    }
    // Failures outside the module's tests: its import, or a hook of a suite.
    if (failedInModule === 0 && module.state() === 'failed') counts.failed++;
  }
  return { counts, skipped };
}

/** Counts of tests and of failed steps together; `tests` is null where the tests left no counts. */
export function ciCounts(tests, failedSteps) {
  const counts = { passed: 0, failed: 0, skipped: 0, ...tests };
  for (const step of failedSteps) {
    if (step !== 'tests') counts.failed++;
  }
  if ((tests === null || failedSteps.includes('tests')) && (tests?.failed ?? 0) === 0) counts.failed++;
  return counts;
}
