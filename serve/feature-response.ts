/** Answers by slot → the JSON body of a feature response. */
import type { FeatureAnswer, FeatureStatus } from './feature-answer.ts';
import type { FeatureReader } from './feature-reader.ts';
import { type JsonValue, toJson } from './json-value.ts';

interface WindowBounds {
  readonly after: string | null;
  readonly until: string;
}

interface FeatureMetadata {
  readonly status: FeatureStatus;
  /** Only where the value leaves something out for its size. */
  readonly truncated?: true;
  /** Of a `stale` value: how old it is. */
  readonly age_ms?: number;
  /** Events with after < event time ≤ until; after null: no old edge. Left out where there is no window. */
  readonly window?: WindowBounds;
  /** Of a series: each of its windows, oldest first. */
  readonly windows?: readonly WindowBounds[];
  /**
   * Records appended in this time were gone before they were applied, and the value may lack them. Only where there are
   * such; after null: not known since when.
   */
  readonly missing?: WindowBounds;
}

export interface FeatureResponse {
  readonly features: Readonly<Record<string, JsonValue>>;
  readonly metadata?: {
    readonly at: string;
    readonly at_ms: number;
    readonly features: Readonly<Record<string, FeatureMetadata>>;
  };
}

/** Statuses that a caller who asked for no metadata must hear of all the same. */
const isDegraded = (status: FeatureStatus): boolean => status !== 'present' && status !== 'empty';

/**
 * `metadata: false` leaves out the features whose value is what it seems to be; where any is not, it is
 * named even so (C9: degrade, never lie).
 */
export function featureResponse(args: {
  output: FeatureReader['output'];
  answers: readonly FeatureAnswer[];
  atMs: number;
  metadata: boolean;
  /** Counts the values by status. */
  statuses: Map<FeatureStatus, number>;
}): FeatureResponse {
  const { output, answers, atMs, statuses } = args;
  const features: Record<string, JsonValue> = Object.create(null);
  const metadata: Record<string, FeatureMetadata> = Object.create(null);
  let any = args.metadata;
  for (const { name, slot } of output) {
    const { value, truncated, window, windows, missing, ageMs } = answers[slot]!;
    let { status } = answers[slot]!;
    try {
      features[name] = toJson(value);
    } catch {
      features[name] = null;
      status = 'error';
    }
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (!args.metadata && !isDegraded(status) && !truncated) continue;
    any = true;
    metadata[name] = {
      status,
      ...(truncated ? { truncated } : {}),
      ...(ageMs === undefined ? {} : { age_ms: ageMs }),
      ...(window === null ? {} : { window: boundsOf(window) }),
      ...(windows === undefined ? {} : { windows: windows.map(boundsOf) }),
      ...(missing === undefined
        ? {}
        : { missing: { after: isoTime(missing.afterMs), until: isoTime(missing.untilMs)! } }),
    };
  }
  if (!any) return { features };
  return { features, metadata: { at: new Date(atMs).toISOString(), at_ms: atMs, features: metadata } };
}

function boundsOf({ fromMs, toMs }: NonNullable<FeatureAnswer['window']>): WindowBounds {
  return { after: isoTime(fromMs), until: isoTime(toMs)! };
}

function isoTime(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}
