// For .ci/run: `reset` forgets the counts of an earlier test run, `print STEP…` prints the last line, given the
// steps that failed, and exits with 1 if anything did.
import { readFileSync, rmSync } from 'node:fs';
import { ciCounts, countsFile, countsLine } from './test-counts.mjs';

const [command, ...failedSteps] = process.argv.slice(2);
if (command === 'reset') {
  rmSync(countsFile, { force: true });
} else if (command === 'print') {
  let tests = null;
  try {
    tests = JSON.parse(readFileSync(countsFile, 'utf8'));
  } catch {
    console.error('the tests left no counts');
  }
  if (failedSteps.length > 0) console.log(`failed: ${failedSteps.join(', ')}`);
  const counts = ciCounts(tests, failedSteps);
  process.exitCode = counts.failed > 0 ? 1 : 0;
  console.log(countsLine(counts));
}
