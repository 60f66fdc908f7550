/**
 * The matrix from the command line, for as many cases as there is time for: `npm run test:matrix -- --help`. Work is
 * shared by processes, as a case is mostly computing; each asks for the next seeds when it is done with its own.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { integerOption, listOption, runDevCommand, UsageError } from '../../../scripts/dev-command.ts';
import { haveServices } from '../../../services/testing/have-services.ts';
import { STORE_KINDS, type StoreKind } from './case-stores.ts';
import { Coverage } from './coverage.ts';
import { type MatrixJob, type MatrixReport, PART_CASES } from './run-worker.ts';

const HELP = `npm run test:matrix -- [options]

Random cases of the matrix (every operation × every kind of window × exact or resolution × every phase of a state)
against the oracle. A seed is a whole case; the same seed on the same store is the same case everywhere.

  --cases N      how many, over all stores (default 10000)
  --seed S       the first seed; the others follow it (default 1)
  --store LIST   some of ${STORE_KINDS.join(',')} (default: all that can be had)
  --workers N    processes (default: one per core)
  --help         this text

Ctrl-C ends the run with its summary.

One case again:  npm run test:matrix -- --store redis --seed 1000123 --cases 1`;

const PROGRESS_EVERY_MS = 2_000;
const FAILURES_SHOWN_MAX = 20;

interface Options {
  readonly cases: number;
  readonly seed: number;
  readonly workers: number;
  readonly stores: readonly StoreKind[];
}

function storesOf(list: string | undefined): StoreKind[] {
  const { redis } = haveServices();
  if (list === undefined || list === 'all') {
    if (redis !== true) console.log(`without Redis: ${redis}`);
    return STORE_KINDS.filter((kind) => kind !== 'redis' || redis === true);
  }
  const stores = listOption('store', list, STORE_KINDS) as StoreKind[];
  if (stores.includes('redis') && redis !== true) throw new UsageError(redis);
  return stores;
}

/** In turns over the stores, so that no case is run twice and each store has had its share whenever the run ends. */
function* jobsOf({ cases, seed, stores }: Options): Generator<MatrixJob> {
  for (let part = 0; part * PART_CASES < cases; part++) {
    const done = part * PART_CASES;
    const kind = stores[part % stores.length]!;
    yield { kind, first: seed + done, count: Math.min(PART_CASES, cases - done) };
  }
}

class Run {
  readonly #options: Options;
  readonly #jobs: Generator<MatrixJob>;
  readonly #startedMs = Date.now();
  readonly #coverages = new Map<StoreKind, Coverage>();
  readonly #failures: string[] = [];
  #progressMs = 0;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    this.#jobs = jobsOf(options);
    for (const kind of options.stores) this.#coverages.set(kind, new Coverage());
  }

  /** @returns whether all was right */
  async run(): Promise<boolean> {
    const worker = fileURLToPath(new URL('./run-worker.ts', import.meta.url));
    process.once('SIGINT', () => {
      console.log('stopping when the cases under way are done');
      this.#stopped = true;
    });
    const workers = Array.from({ length: this.#options.workers }, () => fork(worker));
    await Promise.all(workers.map((child) => this.#feed(child)));
    this.#summarize();
    return this.#failures.length === 0;
  }

  #feed(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (): void => {
        const enough = this.#stopped || this.#failures.length >= FAILURES_SHOWN_MAX;
        const job = enough ? null : this.#jobs.next();
        if (job === null || job.done === true) child.disconnect();
        else child.send(job.value);
      };
      child.on('message', (report: MatrixReport) => {
        this.#take(report);
        next();
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(`a worker ended with ${signal ?? `code ${code}`}`));
      });
      next();
    });
  }

  #take({ kind, counts, failures }: MatrixReport): void {
    this.#coverages.get(kind)!.add(counts);
    for (const failure of failures) console.error(failure);
    this.#failures.push(...failures);
    const nowMs = Date.now();
    if (nowMs - this.#progressMs < PROGRESS_EVERY_MS) return;
    this.#progressMs = nowMs;
    console.log(this.#progress());
  }

  #progress(): string {
    const { cases: all } = this.#options;
    const coverages = [...this.#coverages.values()];
    const done = coverages.reduce((sum, coverage) => sum + coverage.cases, 0);
    const values = coverages.reduce((sum, coverage) => sum + coverage.values, 0);
    const seconds = (Date.now() - this.#startedMs) / 1000;
    const left = done === 0 ? Number.NaN : ((all - done) * seconds) / done;
    return (
      `${done} of ${all} cases (${((100 * done) / all).toFixed(1)} %), ${values} values, ` +
      `${(done / seconds).toFixed(0)} cases/s, ${duration(seconds)} gone, ${duration(left)} to go`
    );
  }

  #summarize(): void {
    for (const [kind, coverage] of this.#coverages) {
      const missing = coverage.missing();
      console.log(`\n${kind}: ${coverage.cases} cases, ${coverage.values} values compared`);
      for (const line of coverage.summary()) console.log(line);
      if (missing.length > 0) console.log(`  ${missing.length} cells without a value`);
    }
    console.log(
      `\n${this.#progress()}\n${this.#failures.length === 0 ? 'no failure' : `${this.#failures.length} failures`}`,
    );
  }
}

function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

await runDevCommand({
  name: 'npm run test:matrix',
  help: HELP,
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    store: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
  },
  run: ({ cases, seed, store, workers }) =>
    new Run({
      cases: integerOption('cases', cases, { min: 1 }),
      seed: integerOption('seed', seed, { min: 0 }),
      workers: integerOption('workers', workers, { min: 1 }),
      stores: storesOf(store),
    }).run(),
});
