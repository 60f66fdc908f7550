/** The partial aggregates of one view together, or its narrow or its wide ones: what a tile or a block holds. */
import type { PartialAggregate } from '../aggregators/partial-aggregate.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { RowBlock } from './row-block.ts';

const writer = new ByteWriter();

export class PartialSet {
  readonly #partials: readonly PartialAggregate[];
  /** In the order of the partials given. */
  readonly states: readonly unknown[];

  constructor(partials: readonly PartialAggregate[]) {
    this.#partials = partials;
    this.states = partials.map((partial) => partial.create());
  }

  clear(): void {
    for (let p = 0; p < this.#partials.length; p++) this.#partials[p]!.clear(this.states[p]);
  }

  addRows(rows: RowBlock, from: number, to: number): void {
    if (from >= to) return;
    for (let p = 0; p < this.#partials.length; p++)
      this.#partials[p]!.addRows(this.states[p], rows, from, to);
  }

  /** Merges what `encode` wrote. */
  absorb(bytes: Uint8Array): void {
    this.absorbFrom(new ByteReader(bytes));
  }

  /** As `absorb`; the reader ends right behind it. */
  absorbFrom(reader: ByteReader): void {
    for (let p = 0; p < this.#partials.length; p++) this.#partials[p]!.absorb(this.states[p], reader);
  }

  /** Merges another set of the same partials, which stays as it is. */
  merge(other: PartialSet): void {
    for (let p = 0; p < this.#partials.length; p++) {
      const partial = this.#partials[p]!;
      if (partial.merge !== undefined) {
        partial.merge(this.states[p], other.states[p]);
      } else {
        writer.clear();
        partial.encode(other.states[p], writer);
        partial.absorb(this.states[p], new ByteReader(writer.finish()));
      }
    }
  }

  encode(): Uint8Array {
    writer.clear();
    for (let p = 0; p < this.#partials.length; p++) this.#partials[p]!.encode(this.states[p], writer);
    return writer.finish();
  }
}
