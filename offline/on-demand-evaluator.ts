/**
 * On-demand features of rows, from the values of their inputs and the rows' own request data: the steps that answer online
 * (`serve/on-demand-plan.ts`). Pure.
 */
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import type { FeatureView } from '../engine/definitions/types.ts';
import { type FeatureAnswer, withoutValue } from '../serve/feature-answer.ts';
import { OnDemandStep } from '../serve/on-demand-plan.ts';
import type { BatchColumn } from './as-of-batch.ts';
import { type TransportColumn, transportOf, transportOfType } from './feature-transport.ts';
import { cellReaderOf } from './fetched-row.ts';

/** A feature of a view that some on-demand feature reads. */
export interface OnDemandInput {
  /** Index into the service's views, and of the feature there. */
  readonly view: number;
  readonly feature: number;
}

export interface OnDemandBatch {
  readonly places: Float64Array;
  /** As-of times, ms. */
  readonly times: Float64Array;
  /** Request data, in the order of `CompiledService.request`. */
  readonly request: readonly BatchColumn[];
  /** By view of the service: the number of the row's entity key; −1: it has none, or none is asked for. */
  readonly keys: readonly Float64Array[];
  /** In the order of `onDemandInputs`. */
  readonly inputs: readonly BatchColumn[];
}

export interface OnDemandRows {
  /** None: rows are not of one entity. */
  readonly keys: Float64Array;
  readonly places: Float64Array;
  /** By on-demand feature. */
  readonly columns: readonly BatchColumn[];
  /** By on-demand feature: rows for which it failed. */
  readonly errors: readonly number[];
}

export function onDemandInputs({ onDemand, views }: CompiledService): OnDemandInput[] {
  const used = new Map<FeatureView, Set<string>>();
  for (const input of onDemand.flatMap(({ inputs }) => Object.values(inputs))) {
    if (input.kind === 'feature_reference')
      used.set(input.view, (used.get(input.view) ?? new Set()).add(input.name));
  }
  return views.flatMap(({ view, features }, v) =>
    features.flatMap(({ name }, f) =>
      used.get(view.definition)?.has(name) ? [{ view: v, feature: f }] : [],
    ),
  );
}

type Answer = { -readonly [Field in keyof FeatureAnswer]: FeatureAnswer[Field] };

export class OnDemandEvaluator {
  readonly #inputs: readonly { readonly view: number; readonly transport: TransportColumn }[];
  readonly #request: readonly { readonly name: string; read(column: BatchColumn, i: number): ColumnValue }[];
  readonly #steps: readonly OnDemandStep[];
  readonly #transports: readonly TransportColumn[];

  constructor(service: CompiledService) {
    const { views, onDemand } = service;
    const inputs = onDemandInputs(service);
    this.#inputs = inputs.map(({ view, feature }) => ({
      view,
      transport: transportOf(views[view]!.features[feature]!),
    }));
    this.#request = Object.entries(service.request).map(([name, { type }]) => ({
      name,
      read: cellReaderOf(type),
    }));
    const slotOf = (view: FeatureView, name: string): number =>
      inputs.findIndex(
        (input) =>
          views[input.view]!.view.definition === view &&
          views[input.view]!.features[input.feature]!.name === name,
      );
    this.#steps = onDemand.map(
      (feature) =>
        new OnDemandStep(feature, (input) =>
          input.kind === 'feature_reference'
            ? slotOf(input.view, input.name)
            : inputs.length + onDemand.indexOf(input),
        ),
    );
    this.#transports = onDemand.map(({ type }) => transportOfType(type));
  }

  evaluate({ places, times, request, keys, inputs }: OnDemandBatch): OnDemandRows {
    const rows = places.length;
    const columns = this.#transports.map(({ isNumber }) =>
      isNumber ? new Float64Array(rows) : new Array<string | number | bigint | null>(rows),
    );
    const errors = this.#steps.map(() => 0);
    const present = this.#inputs.map(
      (): Answer => ({ value: null, status: 'present', truncated: false, window: null }),
    );
    // Without a key there is nothing that could be a value, not even an empty one.
    const missing = withoutValue('error');
    const answers: FeatureAnswer[] = new Array(this.#inputs.length + this.#steps.length);
    for (let i = 0; i < rows; i++) {
      const data: Record<string, ColumnValue> = {};
      this.#request.forEach(({ name, read }, r) => {
        data[name] = read(request[r]!, i);
      });
      this.#inputs.forEach(({ view, transport }, n) => {
        const answer = present[n]!;
        answer.value = transport.read(inputs[n]![i]!);
        answers[n] = keys[view]![i]! < 0 ? missing : answer;
      });
      this.#steps.forEach((step, s) => {
        const answer = step.answer(answers, data, times[i]!);
        answers[this.#inputs.length + s] = answer;
        if (answer.status === 'error') errors[s]!++;
        columns[s]![i] = this.#transports[s]!.write(answer.value) as never;
      });
    }
    return { keys: new Float64Array(rows), places, columns, errors };
  }
}
