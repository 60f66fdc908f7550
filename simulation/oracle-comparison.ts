/** One value after the other compared with the oracle over the events that it must have counted. */
import type { Clock } from '../engine/clock.ts';
import type { CompiledFeature, CompiledView } from '../engine/definitions/compiled.ts';
import type { EventId } from '../engine/event-id.ts';
import { isRight, show, showAnswer } from '../engine/testing/is-right.ts';
import {
  boundsOf,
  type OracleAnswer,
  type OracleEvent,
  oracleAnswer,
  windowsOf,
} from '../engine/testing/oracle.ts';
import { Mismatch } from './mismatch.ts';

/** The bounds that a value says it has: fromMs < time ≤ toMs. */
export interface UsedBounds {
  readonly fromMs: number | null;
  readonly toMs: number;
  /** Whether the old edge may be earlier than asked. */
  readonly isCoarse: boolean;
}

export interface ComparedValue {
  /** Named with what is wrong. */
  readonly when: string;
  readonly view: CompiledView;
  readonly key: string;
  readonly feature: CompiledFeature;
  readonly atMs: number;
  readonly got: unknown;
  /** One; of a series, those of each of its windows, oldest first. */
  readonly bounds: readonly UsedBounds[];
  /** All that counts. */
  readonly events: readonly OracleEvent[];
  /** The event asked about: ties stop at it. null: none */
  readonly last: EventId | null;
}

export class OracleComparison {
  readonly #clock: Clock;
  /** Values compared. */
  comparisons = 0;

  /** @param clock that of the run: times are named by how long ago they are */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns what the value had to be. @throws Mismatch */
  check({ when, view, key, feature, atMs, got, bounds, events, last }: ComparedValue): OracleAnswer {
    const { window } = feature;
    const isSeries = window.kind === 'series';
    bounds.forEach(({ fromMs, toMs, isCoarse }, i) => {
      const right = isSeries ? windowsOf(window, atMs)[i]! : boundsOf(window, atMs);
      if (toMs !== right.toMs) throw new Mismatch(`${feature.name}: the new edge moved`);
      const allowedMs = isCoarse ? (view.resolutionMs ?? Number.POSITIVE_INFINITY) : 0;
      if ((right.fromMs ?? 0) - (fromMs ?? 0) > allowedMs)
        throw new Mismatch(`${feature.name}: coarser than its resolution`);
    });
    const { column } = view.definition.features[feature.name]!;
    const expected = oracleAnswer({
      ...{ view, feature, column, key, atMs, events },
      ...(last === null ? {} : { last }),
      bounds: isSeries ? bounds : bounds[0]!,
    });
    this.comparisons++;
    if (!isRight({ feature, expected, got, atMs })) {
      throw new Mismatch(
        `${when}: ${view.name}.${feature.name} of key '${key}' at now − ${this.#clock.nowMs() - atMs} ms` +
          `${last === null ? '' : ' for an event'}: expected ${showAnswer(expected)}, got ${show(got)}`,
      );
    }
    return expected;
  }
}
