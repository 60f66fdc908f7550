/** Somebody has decided that what the log has lost of a source is not worth waiting for, or has been made good otherwise. */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { StateWriting } from './view-writer.ts';

/** Each try loses only to a consumer that moved a watermark in between. */
const TRIES_MAX = 100;

/**
 * Takes the gaps out of the watermarks of the source's views. Consumers find that their watermarks were moved, and read them again.
 * A store that falls back has the gaps again.
 * @throws what the store throws; then some may have been taken out
 */
export async function acknowledgeGaps(
  source: CompiledSource,
  views: readonly CompiledView[],
  partitions: number,
  { store, shards, newToken }: Pick<StateWriting, 'store' | 'shards' | 'newToken'>,
): Promise<void> {
  const names = views.flatMap(({ namespace }) =>
    Array.from({ length: partitions }, (_, partition) => ({ namespace, source: source.name, partition })),
  );
  for (let shard = 0; shard < shards; shard++) {
    for (let tries = 0; ; tries++) {
      const incarnation = await store.incarnation(shard);
      const watermarks = await store.readWatermarks(shard, names);
      const moves = names.flatMap((name, i) => {
        const watermark = watermarks[i] ?? null;
        if (watermark?.gaps === undefined) return [];
        const { gaps: _, token: expected, ...kept } = watermark;
        return [{ shard, name, expected, incarnation, next: { ...kept, token: newToken(expected) } }];
      });
      if (moves.length === 0) break;
      if (tries === TRIES_MAX) throw new Error(`watermarks of source ${source.name} were moved at every try`);
      await store.moveWatermarks(moves);
    }
  }
}
