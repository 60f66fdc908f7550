/**
 * Exponentially decayed sums that do not depend on the order of events: Σ x·2^(−(T − t)/h) for any later T, kept as
 * Σ x·2^(t/h) (forward decay: G. Cormode, V. Shkapenyuk, D. Srivastava and B. Xu, "Forward Decay: A Practical Time
 * Decay Model for Streaming Systems", 2009). t/h is far beyond the exponent of a double, hence:
 *
 * 1. t/h = k + f with a whole k and 0 ≤ f < 1. The weighted value w = x·2^f is rounded once, by itself.
 * 2. The half-lives k are cut into *eras* of 512. Within its era a row adds w·2^(k mod 512), which is exact, for
 *    scaling up loses nothing and |w| ≤ 2⁴⁶⁷, so 2⁴⁴ rows stay below 2¹⁰²³. An era's sum is an `Expansion`: exact.
 * 3. The newest era with a row and the two before it are kept; older rows no longer count. Whether a row counts
 *    follows from its own era and the newest one, so the state is a function of the set of rows. A row counts for at
 *    least 1,024 half-lives after it, never for 1,536; what vanishes has a weight below 2⁻¹⁰²⁴ of the newest row's.
 *
 * Encoded: 0 for no rows; else the newest era and 1, how many eras follow, and their expansions, newest first, up to
 * the last that is not 0.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import { Cascade } from './cascade.ts';
import { exp2 } from './exp2.ts';
import { Expansion } from './expansion.ts';

const ERA = 512;
const ERAS_KEPT = 3;

/** 2^0 … 2^511. */
const POWERS = Float64Array.from({ length: ERA }, (_, exponent) => 2 ** exponent);

/** Beyond this many halvings nothing is left of any double. */
const HALVINGS_MAX = 2200;

/** Takes what an era that no longer counts would get. */
const vanished = new Expansion();

/** Empty outside of `DecayRun`. */
const cascade = new Cascade();

export class DecayState {
  /** The newest era with a row; −1: no rows. */
  #era = -1;
  /** Of the newest era, the one before it, and the one before that. */
  readonly #sums = Array.from({ length: ERAS_KEPT }, () => new Expansion());

  clear(): void {
    this.#era = -1;
    for (const sum of this.#sums) sum.clear();
  }

  get isEmpty(): boolean {
    return this.#era < 0;
  }

  /** Adds the rows `from ≤ i < to` with a value: that of the column, or 1 where `ones`. */
  addRows(
    times: Float64Array,
    values: ArrayLike<unknown> | null,
    ones: boolean,
    halfLifeMs: number,
    from: number,
    to: number,
  ): void {
    let era = -1;
    let sum = vanished;
    for (let i = from; i < to; i++) {
      let value = 1;
      if (values !== null) {
        const found = values[i];
        if (found === null || Number.isNaN(found)) continue;
        if (!ones) value = Number(found);
      }
      const timeMs = times[i]!;
      // t < 2⁴⁵, so the quotient is at least 2⁻⁴⁵ of itself away from the next whole number and cannot be rounded to it.
      const k = Math.floor(timeMs / halfLifeMs);
      const rowEra = Math.floor(k / ERA);
      if (rowEra !== era) {
        cascade.flush(sum);
        era = rowEra;
        sum = this.#sumOf(era);
      }
      const weighted = value * exp2((timeMs - k * halfLifeMs) / halfLifeMs);
      cascade.add(weighted * POWERS[k - era * ERA]!, 0, sum);
    }
    cascade.flush(sum);
    vanished.clear();
  }

  absorb(r: ByteReader): void {
    const eraPlusOne = r.varint();
    if (eraPlusOne === 0) return;
    const eras = r.varint();
    if (eras < 1 || eras > ERAS_KEPT) throw new CorruptBytesError(`a decayed sum of ${eras} eras`);
    for (let back = 0; back < eras; back++) this.#sumOf(eraPlusOne - 1 - back).absorb(r);
    vanished.clear();
  }

  encode(w: ByteWriter): void {
    w.varint(this.#era + 1);
    if (this.#era < 0) return;
    let eras = ERAS_KEPT;
    while (eras > 1 && this.#sums[eras - 1]!.isZero) eras--;
    w.varint(eras);
    for (let back = 0; back < eras; back++) this.#sums[back]!.encode(w);
  }

  /** The sum of an era, which becomes the newest if it is later; `vanished` where it no longer counts. */
  #sumOf(era: number): Expansion {
    if (this.#era < 0) this.#era = era;
    const sums = this.#sums;
    for (let steps = Math.min(era - this.#era, ERAS_KEPT); steps > 0; steps--) {
      const recycled = sums.pop()!;
      recycled.clear();
      sums.unshift(recycled);
    }
    if (era > this.#era) this.#era = era;
    return sums[this.#era - era] ?? vanished;
  }

  /**
   * Σ x·2^(t/h − 512·era) with the newest era that has a row. Off by no more than three roundings of Σ|terms|.
   * For states over the same rows the era is the same, so that their quotient is the quotient of their values.
   */
  inNewestEra(): number {
    let value = 0;
    for (let back = ERAS_KEPT - 1; back >= 0; back--) {
      value = this.#sums[back]!.round() + value / 2 / POWERS[ERA - 1]!;
    }
    return value;
  }

  /** Σ x·2^(−(T − t)/h) at a time that is not before any row. */
  at(atMs: number, halfLifeMs: number): number {
    if (this.#era < 0) return 0;
    const k = Math.floor(atMs / halfLifeMs);
    let halvings = k - this.#era * ERA;
    if (halvings > HALVINGS_MAX) return 0;
    let value = this.inNewestEra() / exp2((atMs - k * halfLifeMs) / halfLifeMs);
    for (; halvings >= ERA; halvings -= ERA - 1) value /= POWERS[ERA - 1]!;
    return value / POWERS[halvings]! + 0;
  }
}
