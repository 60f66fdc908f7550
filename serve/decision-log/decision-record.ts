/**
 * What a decision log says of one answered question, as a line of JSON; README.md of `serve` has the fields as a table.
 *
 * Values are written as in a JSON answer, but for two things that would be lost to who computes them again: negative zero
 * is `-0.0`, and what is not well-formed Unicode becomes U+FFFD, as DuckDB reads no line that has it.
 */
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import { toWellFormed } from '../../engine/definitions/well-formed.ts';
import type { FeatureAnswer, FeatureStatus } from '../feature-answer.ts';
import type { FeatureQuestion, FeatureReader } from '../feature-reader.ts';
import { UnservableValueError } from '../json-value.ts';
import type { KeyHash } from './key-hash.ts';

/** What became of an event that was to be recorded by the same call. */
export type Ingested = 'recorded' | 'duplicate' | 'unknown';

/** One answered question. Of its event only what names it, so that no payload waits in the buffer. */
export interface DecidedRow extends Pick<FeatureQuestion, 'keys' | 'request' | 'atMs'> {
  /** In the batch, from 0; 0 where there is none. */
  readonly place: number;
  /** The event asked about. `ingested` null: it was not to be recorded. */
  readonly event: {
    readonly source: string;
    readonly id: string | null;
    readonly timeMs: number;
    readonly ingested: Ingested | null;
  } | null;
  /** By slot, as they were given. */
  readonly answers: readonly FeatureAnswer[];
}

export interface Decision {
  readonly requestId: string;
  /** Processing time. */
  readonly answeredMs: number;
  readonly reader: Pick<FeatureReader, 'service' | 'output'>;
  readonly row: DecidedRow;
}

export function decidedRow(
  place: number,
  { keys, request, atMs, asked }: FeatureQuestion,
  answers: readonly FeatureAnswer[],
  ingested: Ingested | null,
): DecidedRow {
  if (asked === null) return { place, keys, request, atMs, event: null, answers };
  const { idText: id, eventTimeMs: timeMs } = asked.event;
  return { place, keys, request, atMs, event: { source: asked.source, id, timeMs, ingested }, answers };
}

/** What is the same in all records of a process. */
export interface RecordTerms {
  /** Begins the ids of its records. */
  readonly instance: string;
  readonly sample: number;
  /** null: keys are plain. */
  readonly hash: KeyHash | null;
}

/** @param n numbers the records of the process */
export function decisionLine(decision: Decision, n: number, { instance, sample, hash }: RecordTerms): string {
  const { requestId, answeredMs, reader, row } = decision;
  const { place, keys, request, atMs, event, answers } = row;
  const { output } = reader;
  const fixed = fixedOf(reader);
  const { opening, openings } = fixed;
  let features = '';
  let isAsBefore = true;
  for (let i = 0; i < output.length; i++) {
    const { value, status } = answers[output[i]!.slot]!;
    features += openings[i]! + valueText(value);
    if (fixed.statuses[i] === status) continue;
    fixed.statuses[i] = status;
    isAsBefore = false;
  }
  if (!isAsBefore)
    fixed.statusesText = fixed.statuses.map((status, i) => `${openings[i]}"${status}"`).join('');
  const entities = objectText(keys, (key, entity) => quoted(hash?.of(entity, key) ?? key));
  const requestData = objectText(Object.entries(request), valueText);
  const asked =
    event === null
      ? 'null'
      : `{"source":${quoted(event.source)},"id":${event.id === null ? 'null' : quoted(event.id)},"time_ms":${event.timeMs}` +
        `,"ingested":${event.ingested === null ? 'null' : quoted(event.ingested)}}`;
  return (
    `{"record":"${instance}-${n}","request":${quoted(requestId)},"row":${place},${opening}` +
    `,"secret_id":${hash === null ? 'null' : quoted(hash.secretId)},"entities":${entities}` +
    `,"at_ms":${atMs},"answered_ms":${answeredMs},"event":${asked},"request_data":${requestData}` +
    `,"features":{${features}},"statuses":{${fixed.statusesText}},"sample":${sample}}\n`
  );
}

/** The bytes that a row keeps from being freed, roughly: nothing is encoded to learn it. */
export function decisionWeight({ keys, request, event, answers }: DecidedRow): number {
  let bytes = RECORD_BYTES + 2 * (event?.id?.length ?? 0);
  for (const key of keys.values()) bytes += ENTRY_BYTES + 2 * key.length;
  for (const name in request) bytes += ENTRY_BYTES + valueWeight(request[name]!);
  for (const { value } of answers) bytes += ANSWER_BYTES + valueWeight(value);
  return bytes;
}

/** With the id of its request, at most 128 characters. */
const RECORD_BYTES = 600;
const ENTRY_BYTES = 40;
const ANSWER_BYTES = 100;

function valueWeight(value: FeatureValue): number {
  if (typeof value === 'string') return 2 * value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let bytes = ENTRY_BYTES;
  if (value instanceof Map) {
    for (const [key, part] of value as ReadonlyMap<string, FeatureValue>)
      bytes += ENTRY_BYTES + 2 * key.length + valueWeight(part);
  } else for (const part of value as readonly FeatureValue[]) bytes += 8 + valueWeight(part);
  return bytes;
}

interface Fixed {
  readonly opening: string;
  /** What stands before each value, and each status. */
  readonly openings: readonly string[];
  /** Of the record before: most have the same. */
  readonly statuses: FeatureStatus[];
  statusesText: string;
}

/** What is the same in all records of a plan, made once for it. */
const fixedParts = new WeakMap<Decision['reader']['output'], Fixed>();

function fixedOf({ service, output }: Decision['reader']): Fixed {
  let made = fixedParts.get(output);
  if (made === undefined) {
    const views = objectText(
      service.views.map(({ view }): [string, string] => [view.name, view.namespace]),
      quoted,
    );
    made = {
      opening: `"service":${quoted(service.name)},"views":${views}`,
      openings: output.map(({ name }, i) => `${i === 0 ? '' : ','}${quoted(name)}:`),
      statuses: [],
      statusesText: '',
    };
    fixedParts.set(output, made);
  }
  return made;
}

function objectText<V>(
  entries: Iterable<readonly [string, V]>,
  textOf: (value: V, name: string) => string,
): string {
  let text = '';
  for (const [name, value] of entries)
    text += `${text === '' ? '' : ','}${quoted(name)}:${textOf(value, name)}`;
  return `{${text}}`;
}

function valueText(value: FeatureValue): string {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new UnservableValueError('the value is not finite');
      return Object.is(value, -0) ? '-0.0' : `${value}`;
    case 'bigint':
      return Number.isSafeInteger(Number(value)) ? `${value}` : `"${value}"`;
    case 'string':
      return quoted(value);
    case 'boolean':
      return value ? 'true' : 'false';
    default:
      if (value === null) return 'null';
      if (value instanceof Map) return objectText(value as ReadonlyMap<string, FeatureValue>, valueText);
      return `[${(value as readonly FeatureValue[]).map(valueText).join(',')}]`;
  }
}

const quoted = (text: string): string => JSON.stringify(toWellFormed(text));
