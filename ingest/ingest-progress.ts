/**
 * How far each view has applied the log, as known in this process: what `wait=applied` waits for, what the
 * status `catching_up` and the lag metrics are made of, and how far retention may truncate.
 */
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { LinkedList, type LinkedNode } from '../engine/linked-list.ts';
import type { LogShortfall } from './replaced-log.ts';

interface Position {
  nextOffset: number;
  /** Where the log ended when the view started, or was set back: from there on it counts as caught up. */
  targetOffset: number;
  /** Processing time up to which everything appended had been applied. */
  freshAsOfMs: number;
}

interface PartitionState {
  endOffset: number;
  /** Everything appended before, processing time, lies below `endOffset`; null: at all times, as nobody else appends. */
  endSeenMs: number | null;
  /** null: the log has all that was applied of it. */
  shortfall: LogShortfall | null;
  readonly positions: Map<CompiledView, Position>;
}

interface Waiter {
  readonly source: string;
  readonly ends: ReadonlyMap<number, number>;
  readonly resolve: () => void;
}

export interface PartitionLag {
  readonly source: string;
  readonly partition: number;
  /** Records the view furthest behind has still to apply; those that are gone, where the log ends before what was applied. */
  readonly records: number;
  /**
   * For how long that view has not been at the log's end, s; where nobody could look at the end for longer than the lag
   * bound, for how long the view has not been known to be there.
   */
  readonly seconds: number;
}

/** A partition whose log is not the one that was applied, or has lost its end. */
export interface ShortLog extends LogShortfall {
  readonly source: string;
  readonly partition: number;
}

export class IngestProgress {
  /** A view that has not been at the log's end for longer than this is catching up, ms (C9). */
  readonly lagBoundMs: number;
  readonly #clock: Clock;
  readonly #sources = new Map<string, PartitionState[]>();
  /** Source → partition → end, of partitions that are not tracked yet. */
  readonly #unknown = new Map<string, Map<number, number>>();
  readonly #waiters = new LinkedList<Waiter>();
  /** Called when somebody begins to wait; synchronous, must not throw. */
  onAwaited: (() => void) | null = null;

  /** @param args.clock processing time */
  constructor(args: { clock: Clock; lagBoundMs: number }) {
    this.#clock = args.clock;
    this.lagBoundMs = args.lagBoundMs;
  }

  /**
   * Makes a partition known, with the end of its log and the views' stored positions. Partitions in order.
   * @param endSeenMs when its end was looked at, processing time, where others append too: see `endSeen`. @default nobody else
   * does
   */
  track(
    source: CompiledSource,
    partition: number,
    endOffset: number,
    nextOffsets: ReadonlyMap<CompiledView, number>,
    endSeenMs: number | null = null,
  ): void {
    const freshAsOfMs = endSeenMs ?? this.#clock.nowMs();
    const positions = new Map(
      source.views.map((view) => [
        view,
        { nextOffset: nextOffsets.get(view) ?? 0, targetOffset: endOffset, freshAsOfMs },
      ]),
    );
    const partitions = this.#sources.get(source.name) ?? [];
    partitions[partition] = { endOffset, endSeenMs, shortfall: null, positions };
    this.#sources.set(source.name, partitions);
    this.#unknown.get(source.name)?.delete(partition);
  }

  /** Records up to `endOffset` are durable, also of a partition that was added and is not tracked yet. */
  appended(source: string, partition: number, endOffset: number): void {
    const state = this.#sources.get(source)?.[partition];
    if (state === undefined) {
      const ends = this.#unknown.get(source) ?? new Map<number, number>();
      this.#unknown.set(source, ends.set(partition, Math.max(endOffset, ends.get(partition) ?? 0)));
      return;
    }
    if (endOffset <= state.endOffset) return;
    for (const position of state.positions.values()) {
      if (position.nextOffset >= state.endOffset) this.#isAtEnd(state, position);
    }
    state.endOffset = endOffset;
  }

  /**
   * The log's end, where others append too. What lies between it and the end that was known may have been appended at any
   * time since that was seen: where nobody could look for long, it is old already.
   * @param seenMs processing time before it was asked for
   */
  endSeen(source: string, partition: number, endOffset: number, seenMs: number): void {
    this.appended(source, partition, endOffset);
    const state = this.#partition(source, partition);
    state.endSeenMs = seenMs;
  }

  /** A view has applied everything below `nextOffset`, the last record of which was appended at `appendedMs`. */
  applied(view: CompiledView, partition: number, nextOffset: number, appendedMs: number | null): void {
    const state = this.#partition(view.source.name, partition);
    const position = state.positions.get(view)!;
    // A lane of several views starts at the lowest of their positions: some are ahead of it.
    position.nextOffset = Math.max(position.nextOffset, nextOffset);
    state.endOffset = Math.max(state.endOffset, nextOffset);
    if (appendedMs !== null) position.freshAsOfMs = Math.max(position.freshAsOfMs, appendedMs);
    if (position.nextOffset >= state.endOffset) this.#isAtEnd(state, position);
    this.#settle(view.source.name);
  }

  /** A view goes on at `nextOffset`; before where it was if the store lost its newest writes. */
  positioned(view: CompiledView, partition: number, nextOffset: number): void {
    const state = this.#partition(view.source.name, partition);
    const position = state.positions.get(view)!;
    if (nextOffset < position.nextOffset) position.targetOffset = state.endOffset;
    position.nextOffset = nextOffset;
  }

  /**
   * Whether the log ends before what was applied of it. As long as it does nothing of the source is fresh, and nothing
   * that anybody waits for is applied: what the log gets then is not what the positions count.
   */
  setShortfall(source: string, partition: number, shortfall: LogShortfall | null): void {
    const state = this.#partition(source, partition);
    const began = state.shortfall === null && shortfall !== null;
    state.shortfall = shortfall;
    if (shortfall === null) this.#settle(source);
    if (!began) return;
    for (const position of state.positions.values()) {
      if (position.nextOffset >= state.endOffset) this.#isAtEnd(state, position);
    }
  }

  /** Partitions whose logs end before what was applied of them. */
  shortLogs(): ShortLog[] {
    return [...this.#sources].flatMap(([source, partitions]) =>
      partitions.flatMap(({ shortfall }, partition) =>
        shortfall === null ? [] : [{ source, partition, ...shortfall }],
      ),
    );
  }

  /** The first of a source: asked with every push. */
  shortLog(source: string): ShortLog | null {
    for (const [partition, { shortfall }] of this.#sources.get(source)?.entries() ?? []) {
      if (shortfall !== null) return { source, partition, ...shortfall };
    }
    return null;
  }

  /** Whether the view has not reached the log's end since it started, is behind beyond the bound (C9), or its log ends short. */
  isCatchingUp(view: CompiledView): boolean {
    for (const { endOffset, shortfall, positions } of this.#sources.get(view.source.name) ?? []) {
      if (shortfall !== null) return true;
      const position = positions.get(view)!;
      if (position.nextOffset < position.targetOffset) return true;
      if (position.nextOffset < endOffset && this.#clock.nowMs() - position.freshAsOfMs > this.lagBoundMs) {
        return true;
      }
    }
    return false;
  }

  /** The durable ends of a source's partitions, as far as known. */
  ends(source: string): Map<number, number> {
    const partitions = this.#sources.get(source) ?? [];
    const known = partitions.map(({ endOffset }, partition) => [partition, endOffset] as const);
    return new Map([...known, ...(this.#unknown.get(source) ?? [])]);
  }

  /** Whether somebody waits for events to be applied. */
  get isAwaited(): boolean {
    return !this.#waiters.isEmpty;
  }

  /** Resolves when every view of the source has applied the partitions below these ends, or the signal aborts. */
  async waitUntilApplied(
    source: string,
    ends: ReadonlyMap<number, number>,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#isApplied(source, ends) || signal.aborted) return;
    let node: LinkedNode<Waiter> | undefined;
    let stop: (() => void) | undefined;
    try {
      await new Promise<void>((resolve) => {
        stop = resolve;
        node = this.#waiters.add({ source, ends, resolve });
        this.onAwaited?.();
        signal.addEventListener('abort', stop, { once: true });
      });
    } finally {
      this.#waiters.remove(node!);
      signal.removeEventListener('abort', stop!);
    }
  }

  /** Below this offset every view has applied the partition; its end where the source has no views. */
  appliedOffset(source: string, partition: number): number {
    const { endOffset, positions } = this.#partition(source, partition);
    let lowest = endOffset;
    for (const { nextOffset } of positions.values()) lowest = Math.min(lowest, nextOffset);
    return lowest;
  }

  /** By partition: the offset below which some view has applied it. */
  appliedOffsets(source: string): number[] {
    return (this.#sources.get(source) ?? []).map(({ positions }) => {
      let highest = 0;
      for (const { nextOffset } of positions.values()) highest = Math.max(highest, nextOffset);
      return highest;
    });
  }

  lags(): PartitionLag[] {
    const nowMs = this.#clock.nowMs();
    const lags: PartitionLag[] = [];
    for (const [source, partitions] of this.#sources) {
      partitions.forEach(({ endOffset, endSeenMs, shortfall, positions }, partition) => {
        const unseenMs = endSeenMs === null ? 0 : nowMs - endSeenMs;
        let records = shortfall === null ? 0 : shortfall.nextOffset - shortfall.endOffset;
        let lagMs = unseenMs > this.lagBoundMs ? unseenMs : 0;
        for (const { nextOffset, freshAsOfMs } of positions.values()) {
          records = Math.max(records, endOffset - nextOffset);
          if (nextOffset < endOffset || shortfall !== null) lagMs = Math.max(lagMs, nowMs - freshAsOfMs);
        }
        lags.push({ source, partition, records, seconds: lagMs / 1000 });
      });
    }
    return lags;
  }

  /** Everything that had been appended when the end was seen has been applied. */
  #isAtEnd({ endSeenMs }: PartitionState, position: Position): void {
    const nowMs = this.#clock.nowMs();
    // No later than now, should the clock have gone back.
    position.freshAsOfMs = Math.min(nowMs, Math.max(position.freshAsOfMs, endSeenMs ?? nowMs));
  }

  /** Those who wait for what has been applied by now. */
  #settle(source: string): void {
    for (const waiter of this.#waiters) {
      if (waiter.source === source && this.#isApplied(source, waiter.ends)) {
        waiter.resolve();
      }
    }
  }

  #isApplied(source: string, ends: ReadonlyMap<number, number>): boolean {
    for (const [partition, endOffset] of ends) {
      const state = this.#sources.get(source)?.[partition];
      if (state === undefined || state.shortfall !== null) return false;
      if (this.appliedOffset(source, partition) < endOffset) return false;
    }
    return true;
  }

  #partition(source: string, partition: number): PartitionState {
    const state = this.#sources.get(source)?.[partition];
    if (state === undefined) throw new Error(`partition ${partition} of source ${source} is not tracked`);
    return state;
  }
}
