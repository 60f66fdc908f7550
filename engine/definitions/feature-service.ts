import { type Duration, durationMsOrAsIs } from '../windows/duration.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import { DESCRIBED_OPTIONS, described } from './described.ts';
import type { Described, FeatureReference, FeatureService, FeatureView, OnDemandFeature } from './types.ts';

export const DEFAULT_DEADLINE: Duration = '2s';
/** Longest time a question may be given, by its service or by itself. */
export const DEADLINE_MAX_MS = 60_000;

export interface FeatureServiceOptions extends Described {
  readonly name: string;
  /** In the order of the response; a whole view stands for all its features in their order. */
  readonly features: readonly (FeatureView | FeatureReference | OnDemandFeature)[];
  /**
   * Time from a question to its answer, where the question does not say (`x-deadline-ms`), 1 ms to 1 min.
   * @default '2s'
   */
  readonly deadline?: Duration;
  /**
   * How old a value may be that answers, marked `stale`, where the store cannot be read in time and the caller takes
   * partial answers. 0: none ever does. @default 0
   */
  readonly staleFor?: Duration;
}

const KNOWN = ['name', 'features', 'deadline', 'staleFor', ...DESCRIBED_OPTIONS];

/** The features of a view, in its order. */
export function referencesOf(view: FeatureView): FeatureReference[] {
  return Object.keys(view.features).map((name) => Object.freeze({ kind: 'feature_reference', view, name }));
}

function isView(value: unknown): value is FeatureView {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'feature_view';
}

/**
 * Features that are served together.
 *
 * @example featureService({ name: 'decision', features: [spend, terminals.feature.risk_7d, ratio] })
 */
export function featureService(given: FeatureServiceOptions): FeatureService {
  const problems = unknownOptions('', given, KNOWN);
  const options = readableOptions(given);
  const features = options.features as unknown;
  return Object.freeze({
    kind: 'feature_service',
    name: options.name,
    features: (Array.isArray(features)
      ? Object.freeze(
          features.flatMap((item: unknown) =>
            // A view without features is left as it is for `compileRepo` to refuse.
            isView(item) && typeof item.features === 'object' && item.features !== null
              ? referencesOf(item)
              : [item],
          ),
        )
      : features) as FeatureService['features'],
    ...(options.deadline === undefined ? {} : { deadlineMs: durationMsOrAsIs(options.deadline) }),
    ...(options.staleFor === undefined ? {} : { staleForMs: durationMsOrAsIs(options.staleFor) }),
    ...described(options),
    ...withProblems(problems),
  });
}
