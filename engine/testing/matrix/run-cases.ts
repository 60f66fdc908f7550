/** Runs cases of the matrix by their seeds, several at a time where the store makes them wait. */
import type { TileStore } from '../../store/tile-store.ts';
import type { CaseStores } from './case-stores.ts';
import { TARGETS, targetOf } from './cells.ts';
import type { Coverage } from './coverage.ts';
import { MatrixCase } from './matrix-case.ts';

/** After as many nothing new is learned. */
const FAILURES_MAX = 5;

export interface SeedRange {
  readonly first: number;
  readonly count: number;
}

/** @returns what failed, each with how to run it alone; where it is much, only the first of it */
export async function runCases(
  stores: CaseStores,
  { first, count }: SeedRange,
  coverage: Coverage,
): Promise<Error[]> {
  return runSeeds(
    stores,
    Array.from({ length: count }, (_, i) => first + i),
    coverage,
  );
}

/**
 * Runs the seeds that aim at what is missing in the coverage, from `first` on, until nothing is or `rounds` seeds were
 * tried for each: a cell that is rare today is not left to tomorrow's luck.
 */
export async function runMissing(
  stores: CaseStores,
  { first, rounds }: { readonly first: number; readonly rounds: number },
  coverage: Coverage,
): Promise<Error[]> {
  const start = Math.ceil(first / TARGETS.length) * TARGETS.length;
  for (let round = 0; round < rounds; round++) {
    const from = start + round * TARGETS.length;
    const seeds = TARGETS.map((_, i) => from + i).filter((seed) => coverage.isMissing(targetOf(seed)));
    if (seeds.length === 0) break;
    const failures = await runSeeds(stores, seeds, coverage);
    if (failures.length > 0) return failures;
  }
  return [];
}

async function runSeeds(stores: CaseStores, seeds: readonly number[], coverage: Coverage): Promise<Error[]> {
  const failures: Error[] = [];
  for (let from = 0; from < seeds.length; from += stores.perStore) {
    const some = seeds.slice(from, from + stores.perStore);
    const storeAt = await stores.renew();
    let next = 0;
    const runSome = async (): Promise<void> => {
      while (next < some.length && failures.length < FAILURES_MAX) {
        const place = next++;
        const failure = await runCase(some[place]!, stores, storeAt(place), coverage);
        if (failure !== null) failures.push(failure);
      }
    };
    await Promise.all(Array.from({ length: stores.atOnce }, runSome));
  }
  return failures;
}

async function runCase(
  seed: number,
  { kind }: CaseStores,
  store: TileStore,
  coverage: Coverage,
): Promise<Error | null> {
  try {
    await new MatrixCase(seed, store, coverage).run();
    return null;
  } catch (error) {
    const replay = `npm run test:matrix -- --store ${kind} --seed ${seed} --cases 1`;
    const message = error instanceof Error ? error.message : String(error);
    return new Error(`seed ${seed} on ${kind}: ${message}\n  replay: ${replay}`, { cause: error });
  }
}
