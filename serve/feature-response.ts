/** Answers by slot → the body of a feature response, as an object for any encoding and as JSON text. */
import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import type { FeatureAnswer, FeatureStatus } from './feature-answer.ts';
import type { FeatureReader } from './feature-reader.ts';
import { type JsonValue, jsonText } from './json-value.ts';

interface WindowBounds {
  readonly after: string | null;
  readonly until: string;
}

interface FeatureMetadata {
  readonly status: FeatureStatus;
  /** Only where the value leaves something out for its size. */
  readonly truncated?: true;
  /** Of a `stale` value: how old it, or its newest event, is. */
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

export interface FeatureResponse<Value = JsonValue> {
  readonly features: Readonly<Record<string, Value>>;
  readonly metadata?: ResponseMetadata;
}

export interface ResponseMetadata {
  readonly at: string;
  readonly at_ms: number;
  readonly features: Readonly<Record<string, FeatureMetadata>>;
}

/** Statuses that a caller who asked for no metadata must hear of all the same. */
const isDegraded = (status: FeatureStatus): boolean => status !== 'present' && status !== 'empty';

export interface FeatureResponseArgs {
  readonly output: FeatureReader['output'];
  /** By slot. What the content type cannot have is replaced by what was answered: null with the status `error`. */
  readonly answers: FeatureAnswer[];
  readonly atMs: number;
  readonly metadata: boolean;
  /** Counts the values by status. */
  readonly statuses: Map<FeatureStatus, number>;
}

/**
 * `metadata: false` leaves out the features whose value is what it seems to be; where any is not, it is
 * named even so (C9: degrade, never lie).
 *
 * @param encode a value in the form of the content type; where it throws, the feature has the status `error`
 */
export function featureResponse<Value>(
  args: FeatureResponseArgs & { readonly encode: (value: FeatureValue) => Value },
): FeatureResponse<Value | null> {
  const features: Record<string, Value | null> = Object.create(null);
  const metadata = collectMetadata(args, args.encode, (i, value) => {
    features[args.output[i]!.name] = value;
  });
  return metadata === null ? { features } : { features, metadata };
}

/** The text of `JSON.stringify(featureResponse({ …, encode: toJson }))` without its last brace, so that more can follow. */
export function openFeatureJson(args: FeatureResponseArgs): string {
  const opened = openingsOf(args.output);
  let text = '{"features":{';
  const metadata = collectMetadata(args, jsonText, (i, value) => {
    text += opened[i]! + (value ?? 'null');
  });
  text += '}';
  return metadata === null ? text : `${text},"metadata":${JSON.stringify(metadata)}`;
}

/** What stands before each value, made once for a service. */
const openings = new WeakMap<FeatureReader['output'], readonly string[]>();

function openingsOf(output: FeatureReader['output']): readonly string[] {
  let made = openings.get(output);
  if (made === undefined) {
    made = output.map(({ name }, i) => `${i === 0 ? '' : ','}${JSON.stringify(name)}:`);
    openings.set(output, made);
  }
  return made;
}

/** Hands over every value in its form, by its place in `output`, null where it has none. Returns null where there is nothing to say of them. */
export function collectMetadata<Value>(
  { output, answers, atMs, statuses, metadata: wanted }: FeatureResponseArgs,
  encode: (value: FeatureValue, output: number) => Value,
  add: (output: number, value: Value | null, status: FeatureStatus) => void,
): ResponseMetadata | null {
  let features: Record<string, FeatureMetadata> | null = wanted ? Object.create(null) : null;
  for (let i = 0; i < output.length; i++) {
    const { name, slot } = output[i]!;
    let answer = answers[slot]!;
    let value: Value | null;
    try {
      value = encode(answer.value, i);
    } catch {
      value = null;
      answer = answers[slot] = { ...answer, value, status: 'error' };
    }
    const { status } = answer;
    add(i, value, status);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (!wanted && !isDegraded(status) && !answer.truncated) continue;
    features ??= Object.create(null) as Record<string, FeatureMetadata>;
    features[name] = metadataOf(answer);
  }
  return features === null ? null : { at: new Date(atMs).toISOString(), at_ms: atMs, features };
}

function metadataOf({ status, truncated, window, windows, missing, ageMs }: FeatureAnswer): FeatureMetadata {
  return {
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

function boundsOf({ fromMs, toMs }: NonNullable<FeatureAnswer['window']>): WindowBounds {
  return { after: isoTime(fromMs), until: isoTime(toMs)! };
}

function isoTime(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}
