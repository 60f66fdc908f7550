/**
 * Whether the log has been applied up to a moment ago. While a store is refilled, partitions are replayed one
 * after another and old events may still come from any of them; what compaction merges for good must wait.
 */
import type { Clock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import { mergesForGood } from '../engine/tiles/state-update.ts';
import type { LogInfo } from '../ingest/log/event-log.ts';

/**
 * Whether, in every partition of the view's source, all records appended more than a dedupe horizon ago have
 * been applied to the shard. Views that never merge rows for good are not asked about.
 */
export type Completeness = (view: CompiledView, shard: number) => Promise<boolean>;

/** @param processing the time that `appendedMs` of log records is of */
export function logCompleteness(
  store: TileStore,
  logOf: (source: string) => LogInfo,
  processing: Clock,
): Completeness {
  return async (view, shard) => {
    if (!mergesForGood(view)) return true;
    const log = logOf(view.source.name);
    const partitions = Array.from({ length: await log.partitions() }, (_, partition) => partition);
    const ends = await Promise.all(partitions.map((partition) => log.ends(partition)));
    const names = partitions.map((partition) => ({
      namespace: view.namespace,
      source: view.source.name,
      partition,
    }));
    const watermarks = await store.readWatermarks(shard, names);
    const horizonAgoMs = processing.nowMs() - view.dedupeHorizonMs;
    return partitions.every((partition) => {
      const watermark = watermarks[partition] ?? null;
      if (watermark === null) return ends[partition]!.startOffset === ends[partition]!.endOffset;
      return watermark.nextOffset >= ends[partition]!.endOffset || watermark.appendedMs >= horizonAgoMs;
    });
  };
}
