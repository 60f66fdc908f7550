import { describe, expect, it } from 'vitest';
import { ciCounts, countsLine, countTests } from './test-counts.mjs';

const module = (states: string[], state = 'passed') => ({
  moduleId: 'm',
  relativeModuleId: 'a.test.ts',
  state: () => state,
  children: {
    allTests: () => states.map((result, i) => ({ fullName: `test ${i}`, result: () => ({ state: result }) })),
  },
});

describe('counts of tests', () => {
  it('count what passed, failed, was skipped, and never finished', () => {
    const { counts, skipped } = countTests(
      [module(['passed', 'failed', 'skipped', 'pending'], 'failed'), module(['passed'])],
      [],
    );
    expect(counts).toEqual({ passed: 2, failed: 2, skipped: 1 });
    expect(skipped).toEqual(['a.test.ts > test 2']);
  });

  it('count a file that could not be loaded and an error outside tests as failures', () => {
    expect(countTests([module([], 'failed')], [{}]).counts).toEqual({ passed: 0, failed: 2, skipped: 0 });
  });
});

describe('the last line of .ci/run', () => {
  it('counts failed steps, the tests by test', () => {
    const tests = { passed: 3, failed: 0, skipped: 1 };
    expect(countsLine(ciCounts(tests, []))).toBe('3 passed, 0 failed, 1 skipped');
    expect(countsLine(ciCounts(tests, ['lint', 'types']))).toBe('3 passed, 2 failed, 1 skipped');
    expect(countsLine(ciCounts({ ...tests, failed: 2 }, ['tests']))).toBe('3 passed, 2 failed, 1 skipped');
  });

  it('never reads 0 failed when the tests crashed', () => {
    expect(ciCounts(null, ['tests']).failed).toBe(1);
    expect(ciCounts(null, []).failed).toBe(1);
    expect(ciCounts({ passed: 3, failed: 0, skipped: 0 }, ['tests']).failed).toBe(1);
  });
});
