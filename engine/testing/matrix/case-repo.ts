/** The random repo of one case of the matrix, in about every third with states that come to their bound. */
import { SeededRandom } from '../random.ts';
import { type RandomRepo, type RepoTarget, randomRepo } from '../random-repo.ts';

export interface CaseRepo extends RandomRepo {
  /** Whether `maxStateBytes` is so tight that states come to it: rows are then given up, and answers may be coarse. */
  readonly bounded: boolean;
}

const BOUNDED_SHARE = 1 / 3;
const MAX_STATE_BYTES = [300, 600, 1_500, 4_000, 10_000, 30_000];

/** Sets the seed of whether a case is bounded apart: the rest of it is the same either way. */
const BOUND_SEED = 0x5bd1_e995;

export function caseRepo(seed: number, random: SeededRandom, target: RepoTarget): CaseRepo {
  const repo = randomRepo(random, String(seed), target);
  const ofBound = new SeededRandom(seed ^ BOUND_SEED);
  if (!ofBound.chance(BOUNDED_SHARE)) return { ...repo, bounded: false };
  const maxStateBytes = ofBound.pick(MAX_STATE_BYTES);
  return { ...repo, bounded: true, views: repo.views.map((view) => ({ ...view, maxStateBytes })) };
}
