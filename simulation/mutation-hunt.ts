/** The first seed that notices a planted mistake. */
import type { Mutation } from './mutations.ts';
import { simulate } from './world.ts';

export interface Catch {
  readonly seed: number;
  /** What was noticed: a wrong value, watermark or report. */
  readonly failure: string;
}

/** null: none of `seedsMax` seeds from `from` on noticed it. */
export async function huntMutation(args: {
  mutation: Mutation;
  from: number;
  seedsMax: number;
}): Promise<Catch | null> {
  const { mutation, from, seedsMax } = args;
  for (let seed = from; seed < from + seedsMax; seed++) {
    const { failure } = await simulate({ seed, mutation });
    if (failure === null) continue;
    // A crash of the simulator proves nothing.
    if (failure.startsWith('threw')) throw new Error(`seed ${seed} with ${mutation} ${failure}`);
    return { seed, failure };
  }
  return null;
}
