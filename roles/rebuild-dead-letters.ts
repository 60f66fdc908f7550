/**
 * Dead letters of a rebuild. Most records that it cannot use have their letter: whoever applied them to the active namespace
 * wrote it. What that namespace counts and the rebuilt one will not is a loss that must not be silent: code that was
 * changed since may throw where the former one did not.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore, Watermark } from '../engine/store/tile-store.ts';
import type { DeadLetter, DeadLetters } from '../ingest/dead-letter.ts';
import type { ViewBindings } from './view-bindings.ts';

export interface RebuildDeadLettersOptions {
  /** As defined. */
  readonly view: CompiledView;
  readonly bindings: Pick<ViewBindings, 'active'>;
  readonly store: Pick<TileStore, 'readWatermarks'>;
  readonly shards: number;
  /** Of the source. */
  readonly letters: DeadLetters;
  /** Letters that were written, durably. */
  readonly onWritten?: (letters: readonly DeadLetter[]) => void;
  /** Records that got their first letter: copies of a record, and tries again, have letters of their own. */
  readonly onUnusable?: (records: number) => void;
}

/** So many records are known to be counted; beyond them letters are counted that are of no copy. */
const COUNTED_MAX = 100_000;

export class RebuildDeadLetters implements DeadLetters {
  readonly #options: RebuildDeadLettersOptions;
  /** Partition and offset of records that were counted. */
  readonly #counted = new Set<string>();

  constructor(options: RebuildDeadLettersOptions) {
    this.#options = options;
  }

  /** Writes those that the active namespace does not say it has not applied: what nobody remembers gets another letter. */
  async write(letters: readonly DeadLetter[]): Promise<void> {
    const partitions = [...new Set(letters.map(({ partition }) => partition))];
    const marks = new Map<number, readonly (Watermark | null)[]>();
    for (const partition of partitions) marks.set(partition, await this.#activeMarks(partition));
    const missing = letters.filter(
      (letter) => !marks.get(letter.partition)!.some((mark) => hasLetter(mark, letter)),
    );
    if (missing.length === 0) return;
    await this.#options.letters.write(missing);
    this.#options.onWritten?.(missing);
    this.#options.onUnusable?.(missing.filter((letter) => this.#isFirst(letter)).length);
  }

  #isFirst({ partition, offset, readOffset }: DeadLetter): boolean {
    const record = `${partition}:${offset}`;
    if (this.#counted.has(record)) return false;
    if (this.#counted.size >= COUNTED_MAX) return offset === readOffset;
    this.#counted.add(record);
    return true;
  }

  /** By shard. */
  async #activeMarks(partition: number): Promise<(Watermark | null)[]> {
    const { view, bindings, store, shards } = this.#options;
    const names = [{ namespace: bindings.active(view).namespace, source: view.source.name, partition }];
    const found = Array.from({ length: shards }, (_, shard) => store.readWatermarks(shard, names));
    return (await Promise.all(found)).map(([mark]) => mark ?? null);
  }
}

/**
 * Whether it was passed there and not applied: whoever moved the watermark has waited for the letter. A copy of the record may
 * be further ahead than the record, and has a letter of its own.
 */
function hasLetter(mark: Watermark | null, { offset, readOffset }: DeadLetter): boolean {
  return mark !== null && readOffset < mark.nextOffset && mark.unapplied?.isApplied(offset) === false;
}
