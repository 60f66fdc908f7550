/** On-demand features of a service, compiled to slots: each reads the slots of its inputs and fills its own. */
import type { ColumnType, ColumnValue, FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import { isFailure, valueReader } from '../engine/definitions/column-value.ts';
import type { OnDemandFeature } from '../engine/definitions/types.ts';
import type { FeatureAnswer, FeatureStatus } from './feature-answer.ts';
import { bothMissing, type MissingTime } from './missing-time.ts';

/** Worst first: an on-demand feature is as good as the worst of its inputs. */
const DEGRADED: readonly FeatureStatus[] = ['error', 'catching_up', 'coarse'];

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
    let worst = DEGRADED.length;
    for (const { slot } of this.#inputs) {
      const rank = DEGRADED.indexOf(answers[slot]!.status);
      if (rank >= 0 && rank < worst) worst = rank;
    }
    const status = DEGRADED[worst] ?? 'present';
    if (status === 'error') return { value: null, status, truncated: false, window: null };
    let missing: MissingTime | null = null;
    for (const { slot } of this.#inputs) missing = bothMissing(missing, answers[slot]!.missing ?? null);
    const features: Record<string, FeatureValue> = Object.create(null);
    for (const { name, slot } of this.#inputs) features[name] = answers[slot]!.value;
    const data: Record<string, ColumnValue> = Object.create(null);
    for (const name of this.#request) data[name] = request[name]!;
    try {
      const value = this.#check(this.#feature.compute({ features, request: data, atMs }));
      return { value, status, truncated: false, window: null, ...(missing === null ? {} : { missing }) };
    } catch {
      return { value: null, status: 'error', truncated: false, window: null };
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
