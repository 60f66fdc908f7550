/** On-demand features of a service, compiled to slots: each reads the slots of its inputs and fills its own. */
import type { ColumnType, ColumnValue, FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import { isFailure, valueReader } from '../engine/definitions/column-value.ts';
import type { OnDemandFeature } from '../engine/definitions/types.ts';
import { type FeatureAnswer, type FeatureStatus, withoutValue } from './feature-answer.ts';
import { bothMissing, type MissingTime } from './missing-time.ts';

/** The worse the higher: an on-demand feature is as good as the worst of its inputs, which need not be empty. */
const BADNESS: Readonly<Record<FeatureStatus, number>> = {
  present: 0,
  empty: 0,
  coarse: 1,
  catching_up: 2,
  stale: 3,
  timed_out: 4,
  error: 5,
};

/** Of a feature without inputs, or without request data: one for all. */
const NOTHING: Readonly<Record<string, never>> = Object.freeze(Object.create(null));

export class OnDemandStep {
  readonly name: string;
  readonly #feature: OnDemandFeature;
  readonly #inputs: readonly { readonly name: string; readonly slot: number }[];
  readonly #request: readonly string[];
  readonly #check: (value: unknown) => FeatureValue;

  constructor(feature: OnDemandFeature, slotOf: (input: OnDemandFeature['inputs'][string]) => number) {
    this.name = feature.name;
    this.#feature = feature;
    this.#inputs = Object.entries(feature.inputs).map(([name, input]) => ({ name, slot: slotOf(input) }));
    this.#request = Object.keys(feature.request);
    this.#check = resultChecker(feature.type);
  }

  /** Never throws: a feature that does has the status `error`. */
  answer(
    answers: readonly FeatureAnswer[],
    request: Readonly<Record<string, ColumnValue>>,
    atMs: number,
  ): FeatureAnswer {
    let status: FeatureStatus = 'present';
    let missing: MissingTime | null = null;
    let ageMs: number | undefined;
    for (const { slot } of this.#inputs) {
      const input = answers[slot]!;
      if (BADNESS[input.status] > BADNESS[status]) status = input.status;
      missing = bothMissing(missing, input.missing ?? null);
      if (input.ageMs !== undefined) ageMs = Math.max(ageMs ?? 0, input.ageMs);
    }
    if (status === 'error' || status === 'timed_out') return withoutValue(status);
    let features: Readonly<Record<string, FeatureValue>> = NOTHING;
    if (this.#inputs.length > 0) {
      const own: Record<string, FeatureValue> = Object.create(null);
      for (const { name, slot } of this.#inputs) own[name] = answers[slot]!.value;
      features = own;
    }
    let data: Readonly<Record<string, ColumnValue>> = NOTHING;
    if (this.#request.length > 0) {
      const own: Record<string, ColumnValue> = Object.create(null);
      for (const name of this.#request) own[name] = request[name]!;
      data = own;
    }
    try {
      const value = this.#check(this.#feature.compute({ features, request: data, atMs }));
      if (missing === null && ageMs === undefined) return { value, status, truncated: false, window: null };
      return {
        ...{ value, status, truncated: false, window: null },
        ...(missing === null ? {} : { missing }),
        ...(ageMs === undefined ? {} : { ageMs }),
      };
    } catch {
      return withoutValue('error');
    }
  }
}

/** @returns a function that throws where the value is not of the declared type */
function resultChecker(type: ColumnType): (value: unknown) => FeatureValue {
  const read = valueReader(type, '', 'the value');
  return (value) => {
    if (value === null) return null;
    // Ratios and squares may be larger than what a column takes.
    if (type === 'double' && typeof value === 'number' && Number.isFinite(value)) return value + 0;
    if (type !== 'string' && typeof value === 'string')
      throw new TypeError('text is not of the declared type');
    const result = read(value);
    if (isFailure(result)) {
      // A promise is never meant; its rejection must not go unhandled.
      if (typeof value === 'object' && 'then' in value!) Promise.resolve(value).catch(() => {});
      throw new TypeError(result.message);
    }
    return result;
  };
}
