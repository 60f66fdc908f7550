/** What the views lack of their logs for good, as known in this process. */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { isWithinReach } from './gap-reach.ts';

export interface OpenGap extends LogGap {
  readonly source: string;
  readonly partition: number;
  /** Names of the views that lack it and have a window that may still ask for it. */
  readonly views: readonly string[];
}

const NONE: readonly LogGap[] = [];

export class OpenGaps {
  readonly #isRead: (view: CompiledView) => boolean;
  /** View → partition → gaps. */
  readonly #byPartition = new Map<CompiledView, Map<number, readonly LogGap[]>>();
  /** View → gaps of all partitions: every read asks for them. */
  readonly #all = new Map<CompiledView, readonly LogGap[]>();

  /** @param isRead whether values are made of that view, as bound: what others lack is not listed. @default of each */
  constructor(isRead: (view: CompiledView) => boolean = () => true) {
    this.#isRead = isRead;
  }

  /** Replaces what is known of a view and a partition. */
  set(view: CompiledView, partition: number, gaps: readonly LogGap[]): void {
    const known = this.#byPartition.get(view);
    if (gaps.length === 0 && !known?.has(partition)) return;
    const partitions = known ?? new Map<number, readonly LogGap[]>();
    partitions.set(partition, gaps);
    this.#byPartition.set(view, partitions);
    this.#all.set(view, [...partitions.values()].flat());
  }

  /** Somebody has acknowledged them. */
  forget(source: string): void {
    for (const view of this.#byPartition.keys()) {
      if (view.source.name !== source) continue;
      this.#byPartition.delete(view);
      this.#all.delete(view);
    }
  }

  /** Also such as no window asks for any more: see `mayLack`. */
  of(view: CompiledView): readonly LogGap[] {
    return this.#all.get(view) ?? NONE;
  }

  /** Those that some window may still ask for, by source and partition. @param nowMs what the engine takes for now */
  list(nowMs: number): OpenGap[] {
    const found = new Map<string, OpenGap>();
    for (const [view, partitions] of this.#byPartition) {
      if (!this.#isRead(view)) continue;
      for (const [partition, gaps] of partitions) {
        for (const gap of gaps) {
          if (!isWithinReach(view, gap, nowMs)) continue;
          const id = JSON.stringify([view.source.name, partition, gap]);
          const views = [...(found.get(id)?.views ?? []), view.name];
          found.set(id, { source: view.source.name, partition, ...gap, views });
        }
      }
    }
    return [...found.values()].sort(
      (a, b) =>
        Number(a.source > b.source) - Number(a.source < b.source) ||
        a.partition - b.partition ||
        a.fromOffset - b.fromOffset,
    );
  }
}
