/**
 * Whether answers are right while everything goes on (I7): each feature has a value with a status. Whatever the status, the
 * value is that of the oracle over what the state of that very key held at the instant it was read. A value said to be
 * current lacks nothing that was appended longer ago than the lag bound, whatever the store has lost or the process could
 * not see meanwhile; and when all is healed, no value is called less than it is.
 *
 * As `StateTruth`, nothing here passes a gate or takes from the run's randomness.
 */
import type { CompiledFeature, CompiledService, CompiledView } from '../engine/definitions/compiled.ts';
import type { StateAddress } from '../engine/store/tile-store.ts';
import type { OracleAnswer, OracleEvent } from '../engine/testing/oracle.ts';
import type { FeatureAnswer } from '../serve/feature-answer.ts';
import type { FeatureQuestion } from '../serve/feature-reader.ts';
import type { Occurrence } from './log-content.ts';
import { Mismatch } from './mismatch.ts';
import type { RunState } from './run-state.ts';

/** What the state of a key was at the instant it was read. */
export interface StateSeen {
  /** As the run knows it, not as the process does. */
  readonly view: CompiledView;
  readonly key: string;
  readonly held: ReadonlySet<OracleEvent>;
  /** What it ought to hold, and does not. */
  readonly lacking: readonly Occurrence[];
  /** Nobody can say what counts. */
  readonly isUnsure: boolean;
  /** As of when it could be asked. */
  readonly earliestMs: number;
}

export interface CheckedAnswer {
  /** Named with what is wrong. */
  readonly when: string;
  readonly question: FeatureQuestion;
  /** The event that the question is about, as the oracle takes it. */
  readonly asked: OracleEvent | null;
  /** By the name of the feature. */
  readonly answers: ReadonlyMap<string, FeatureAnswer>;
  /** In the order of the service's views. */
  readonly seen: readonly StateSeen[];
  readonly bounds: CurrentBounds;
}

/** What a current value may lack. */
export interface CurrentBounds {
  /** Nothing that was appended before, ms. */
  readonly completeBeforeMs: number;
  /** By partition: nothing below this offset, as somebody had waited for it. */
  readonly waitedFor: ReadonlyMap<number, number>;
  /**
   * By partition: where the log begins, once everything has healed. Then each value is current, or says what is missing, which
   * is gone from the log. null: there are faults still
   */
  readonly healedStarts: readonly number[] | null;
}

export class ReadTruth {
  readonly #run: RunState;

  constructor(run: RunState) {
    this.#run = run;
  }

  /** To be called at the instant at which a state is read. */
  async stateSeen({ namespace, key }: StateAddress): Promise<StateSeen> {
    const { truth, namespaces } = this.#run;
    const view = namespaces.viewIn(namespace);
    const held = await truth.held(view, key);
    // Who was stopped for longer than what was read before is kept: a limit that ARCHITECTURE.md names.
    const isRemoved = namespaces.isRemoved(namespace);
    return {
      ...{ view, key, held },
      lacking: isRemoved ? [] : truth.lacking(view, key, held),
      isUnsure: isRemoved || truth.isUnsure(view, key),
      earliestMs: truth.earliestMs(view),
    };
  }

  /** @throws Mismatch */
  check(service: CompiledService, checked: CheckedAnswer): void {
    for (const [v, { features }] of service.views.entries()) {
      const seen = checked.seen[v]!;
      for (const { name } of features) {
        const feature = seen.view.features.find((at) => at.name === name)!;
        this.#checkFeature(feature, seen, checked.answers.get(name)!, checked);
      }
    }
  }

  #checkFeature(
    feature: CompiledFeature,
    seen: StateSeen,
    answer: FeatureAnswer,
    { when, question, asked, bounds }: CheckedAnswer,
  ): void {
    const { view, key } = seen;
    const { status, missing } = answer;
    const wrong = (what: string): Mismatch =>
      new Mismatch(
        `${when}: ${view.name}.${feature.name} of key '${key}' at step ${this.#run.scheduler.steps} ${what}`,
      );
    if (status === 'error') throw wrong('could not be evaluated');
    if (question.keys.get(view.entity.name) !== key) throw wrong('is of another key than was asked for');
    const expected = this.#compared({ when, feature, seen, answer, atMs: question.atMs, asked });
    if (missing !== undefined && !this.#run.truncated)
      throw wrong('is said to lack records, and none are gone');

    const lacking = lackedWithin(answer, seen.lacking);
    const starts = bounds.healedStarts;
    if (starts !== null) {
      if (status === 'catching_up' && missing === undefined)
        throw wrong('is catching up when all has healed');
      const untold = lacking.find((record) => !isTold(record, answer, starts));
      if (untold !== undefined) throw wrong(`does not say that it lacks ${nameOf(untold)}`);
    }
    if (status === 'catching_up') return;
    const tooOld = lacking.find(
      ({ partition, offset, appendedMs }) =>
        appendedMs < bounds.completeBeforeMs || offset < (bounds.waitedFor.get(partition) ?? 0),
    );
    if (tooOld !== undefined) {
      const agoMs = this.#run.clock.nowMs() - tooOld.appendedMs;
      throw wrong(`is said to be ${status}, and lacks ${nameOf(tooOld)}, appended ${agoMs} ms ago`);
    }
    if (expected !== null && status !== 'coarse' && isEmpty(expected) !== (status === 'empty'))
      throw wrong(`is said to be ${status}, and is not`);
  }

  /** What the value had to be; null: nobody can say. */
  #compared(args: {
    when: string;
    feature: CompiledFeature;
    seen: StateSeen;
    answer: FeatureAnswer;
    atMs: number;
    asked: OracleEvent | null;
  }): OracleAnswer | null {
    const { seen, answer, atMs, asked } = args;
    const { view, key, held } = seen;
    // Retention and the resolution look at the time of the read.
    if (seen.isUnsure || atMs < seen.earliestMs) return null;
    const mayBeCoarse =
      answer.status === 'coarse' || (answer.status === 'catching_up' && view.resolutionMs !== null);
    // Nothing may tell whether a coarse state has it already.
    if (asked !== null && mayBeCoarse && !held.has(asked)) return null;
    const windows = answer.windows ?? [answer.window!];
    return this.#run.comparison.check({
      ...{ when: args.when, view, key, feature: args.feature, atMs, got: answer.value },
      events: [...(asked === null ? held : new Set([...held, asked]))],
      bounds: windows.map(({ fromMs, toMs }) => ({ fromMs, toMs, isCoarse: mayBeCoarse })),
      last: asked?.id ?? null,
    });
  }
}

const nameOf = ({ partition, offset }: Occurrence): string => `the record at ${partition}:${offset}`;

/** Of what the state lacks: what the windows of the answer would count. */
function lackedWithin({ window, windows }: FeatureAnswer, lacking: readonly Occurrence[]): Occurrence[] {
  return lacking.filter(({ event: { timeMs } }) =>
    (windows ?? [window!]).some(({ fromMs, toMs }) => (fromMs === null || fromMs < timeMs) && timeMs <= toMs),
  );
}

function isTold(
  { partition, offset, appendedMs }: Occurrence,
  { missing }: FeatureAnswer,
  starts: readonly number[],
): boolean {
  if (missing === undefined || offset >= starts[partition]!) return false;
  return (missing.afterMs ?? 0) <= appendedMs && appendedMs <= missing.untilMs;
}

/** Whether nothing counts. */
function isEmpty(answer: OracleAnswer): boolean {
  switch (answer.kind) {
    case 'value':
      return answer.rows.length === 0;
    case 'series':
      return answer.elements.every(isEmpty);
    case 'groups':
      return answer.groups.size === 0;
  }
}
