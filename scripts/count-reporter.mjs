// A vitest reporter that counts tests, names the skipped ones, and leaves the counts for .ci/run.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { countsFile, countsLine, countTests } from './test-counts.mjs';

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const { counts, skipped } = countTests(modules, unhandledErrors);
    for (const name of skipped) console.log(`skipped: ${name}`);
    console.log(countsLine(counts));
    mkdirSync(dirname(countsFile), { recursive: true });
    writeFileSync(countsFile, JSON.stringify(counts));
  }
}
