/** A process of run.ts: runs the seeds it is sent and answers what it met, until nobody is there to send any. */
import { type CaseStores, openCaseStores, type StoreKind } from './case-stores.ts';
import { Coverage, type CoverageCounts } from './coverage.ts';
import { runCases, type SeedRange } from './run-cases.ts';

/** Few enough for a progress line that moves, many enough for stores to be worth their opening. */
export const PART_CASES = 64;

export interface MatrixJob extends SeedRange {
  readonly kind: StoreKind;
}

export interface MatrixReport {
  readonly kind: StoreKind;
  readonly counts: CoverageCounts;
  readonly failures: readonly string[];
}

const opened = new Map<StoreKind, CaseStores>();

async function runJob({ kind, first, count }: MatrixJob): Promise<MatrixReport> {
  let stores = opened.get(kind);
  if (stores === undefined) {
    stores = await openCaseStores(kind);
    opened.set(kind, stores);
  }
  const coverage = new Coverage();
  const failures = await runCases(stores, { first, count }, coverage);
  return { kind, counts: coverage.counts(), failures: failures.map(({ message }) => message) };
}

// Imported by run.ts for its types alone, where there is nobody to report to.
if (process.send !== undefined) {
  process.on('message', (job: MatrixJob) => {
    runJob(job).then((report) => process.send!(report));
  });
  // Ctrl-C reaches the whole group of processes; what is under way is to be finished and counted.
  process.on('SIGINT', () => {});
  process.once('disconnect', async () => {
    for (const stores of opened.values()) await stores.close();
  });
}
