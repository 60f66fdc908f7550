/** From the body of a feature request to a checked question; every refusal says what is wrong by name. */
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { Clock } from '../engine/clock.ts';
import { isFailure, type ValueReader, valueReader } from '../engine/definitions/column-value.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';
import { readEntityKey } from '../engine/definitions/decode-event.ts';
import { ENTITY_KEY_MAX_BYTES } from '../engine/definitions/entity-key.ts';
import type { EventPush } from '../ingest/event-push.ts';
import { TOO_FAR_IN_FUTURE } from '../ingest/push-gateway.ts';
import { fieldsOf, readBoolean, readObject } from './body-fields.ts';
import { ApiError, quoteName } from './error-catalogue.ts';
import type { FeatureQuestion } from './feature-reader.ts';

export interface FeatureRequest {
  readonly question: FeatureQuestion;
  readonly ingest: boolean;
  readonly metadata: boolean;
}

const ROW_FIELDS = ['entities', 'request', 'at', 'event'];
/** What is said once for all rows of a batch. */
const ANSWER_FIELDS = ['metadata', 'features', 'mode'];
const REQUEST_FIELDS = [...ROW_FIELDS, 'ingest', ...ANSWER_FIELDS];
const BATCH_FIELDS = ['rows', ...ANSWER_FIELDS];
const MODES = ['strict', 'partial'] as const;

/** `strict`: all features or an error; `partial`: what can be had by the deadline. */
export type AnswerMode = (typeof MODES)[number];

/** Fields of the body of a request for one answer. @throws ApiError */
export function requestFields(body: unknown): ReadonlyMap<string, unknown> {
  return fieldsOf(body, REQUEST_FIELDS, 'the body');
}

/** @throws ApiError */
export function batchFields(body: unknown): ReadonlyMap<string, unknown> {
  return fieldsOf(body, BATCH_FIELDS, 'the body');
}

/** @throws ApiError */
export function readMode(value: unknown): AnswerMode {
  if (value === undefined || value === null) return 'strict';
  const mode = MODES.find((known) => known === value);
  if (mode === undefined) {
    throw new ApiError('invalid_body', `'mode' must be ${MODES.join(' or ')}`, {
      field: 'mode',
      expected: MODES,
    });
  }
  return mode;
}

const EVENT_FIELDS = ['source', 'data'];

/** Where no source is read, `at` may be this far ahead. */
const DEFAULT_MAX_FUTURE_MS = 600_000;

const readTime = valueReader('timestamp', 'at', "'at'");

export interface FeatureRequestParserOptions {
  /** With all its features. */
  readonly service: CompiledService;
  /** The service narrowed to the features asked for: what those do not need may be missing. @default the service */
  readonly asked?: CompiledService;
  readonly push: EventPush;
  /** What `at` defaults to and is bounded by. */
  readonly clock: Clock;
  /** Processing time. */
  readonly wallClock: Clock;
}

export class FeatureRequestParser {
  readonly #options: FeatureRequestParserOptions;
  /** By name, whether the features asked for need it. */
  readonly #entities: ReadonlyMap<string, boolean>;
  readonly #request: ReadonlyMap<
    string,
    { readonly needed: boolean; readonly nullable: boolean; readonly read: ValueReader }
  >;
  readonly #asOfRetentionMs: number;
  readonly #maxFutureMs: number;

  constructor(options: FeatureRequestParserOptions) {
    this.#options = options;
    const { service, asked = service } = options;
    const needed = new Set(asked.entities.map(({ name }) => name));
    this.#entities = new Map(service.entities.map(({ name }) => [name, needed.has(name)]));
    this.#request = new Map(
      Object.entries(service.request).map(([name, { type, nullable }]) => [
        name,
        {
          needed: Object.hasOwn(asked.request, name),
          nullable,
          read: valueReader(type, name, `request data '${name}'`),
        },
      ]),
    );
    this.#asOfRetentionMs = Math.min(...asked.views.map(({ view }) => view.asOfRetentionMs));
    // That a price of next year is known today is no reason to ask about next year.
    const streams = service.views.filter(({ view }) => view.source.batch === undefined);
    this.#maxFutureMs = Math.max(
      streams.length === 0 ? DEFAULT_MAX_FUTURE_MS : 0,
      ...streams.map(({ view }) => view.source.maxFutureMs),
    );
  }

  /** @param fields see `requestFields` @throws ApiError */
  parse(fields: ReadonlyMap<string, unknown>): FeatureRequest {
    const ingest = readBoolean(fields.get('ingest'), 'ingest', false);
    if (ingest && (fields.get('event') ?? null) === null) {
      throw new ApiError('event_required', "'ingest' is true but there is no 'event' to record", {
        field: 'event',
      });
    }
    return {
      question: this.#question(fields),
      ingest,
      metadata: readBoolean(fields.get('metadata'), 'metadata', false),
    };
  }

  /** A row of a batch. @throws ApiError */
  parseRow(row: unknown): FeatureQuestion {
    return this.#question(fieldsOf(row, ROW_FIELDS, 'a row'));
  }

  #question(fields: ReadonlyMap<string, unknown>): FeatureQuestion {
    const asked = this.#asked(fields.get('event'));
    const keys = this.#keys(fields.get('entities'), asked);
    const request = this.#requestData(fields.get('request'));
    const at = fields.get('at') ?? null;
    return { keys, request, atMs: this.#atMs(at, asked), asked, ofNow: at === null && asked === null };
  }

  #asked(value: unknown): FeatureQuestion['asked'] {
    if (value === undefined || value === null) return null;
    const fields = fieldsOf(value, EVENT_FIELDS, "'event'");
    const source = fields.get('source');
    if (typeof source !== 'string') {
      throw new ApiError('invalid_body', "'event.source' must be the name of a source", {
        field: 'event.source',
      });
    }
    const gateway = this.#options.push.gateway(source);
    if (gateway === undefined)
      throw new ApiError('unknown_source', `there is no source ${quoteName(source)}`);
    if (!this.#options.service.views.some(({ view }) => view.source.name === source)) {
      const message = `no view of service '${this.#options.service.name}' reads source '${source}'`;
      throw new ApiError('event_not_used', message, { field: 'event.source' });
    }
    const event = gateway.decode(fields.get('data'));
    if (!event.ok) {
      throw new ApiError('invalid_event', event.message, { code: event.code, column: event.column });
    }
    if (gateway.isTooFarInFuture(event)) {
      const { eventTime } = gateway.source.definition;
      const message = `column '${eventTime}' is further ahead of now than the source admits`;
      throw new ApiError('invalid_event', message, { code: TOO_FAR_IN_FUTURE, column: eventTime });
    }
    return { source, event };
  }

  #keys(value: unknown, asked: FeatureQuestion['asked']): ReadonlyMap<string, string> {
    const given = readObject(value, 'entities');
    for (const name of given.keys()) {
      if (!this.#entities.has(name)) {
        const message = `service '${this.#options.service.name}' has no entity ${quoteName(name)}`;
        throw new ApiError('unknown_entity', message, { expected: [...this.#entities.keys()] });
      }
    }
    const keys = new Map<string, string>();
    for (const [name, needed] of this.#entities) {
      const key = readEntityKeyOf(name, given.get(name)) ?? this.#keyOfEvent(name, asked);
      if (key === null) {
        if (!needed) continue;
        throw new ApiError('missing_entity', `the key of entity '${name}' is missing`, { entity: name });
      }
      keys.set(name, key);
    }
    return keys;
  }

  /** The entity's key in the event, where the views of the event's source agree on the column that holds it. */
  #keyOfEvent(entity: string, asked: FeatureQuestion['asked']): string | null {
    if (asked === null) return null;
    let key: string | null = null;
    for (const { view } of this.#options.service.views) {
      if (view.entity.name !== entity || view.source.name !== asked.source) continue;
      const own = eventKey(view.definition.keyColumn, asked.event);
      if (own === null || (key !== null && own !== key)) return null;
      key = own;
    }
    return key;
  }

  #requestData(value: unknown): Readonly<Record<string, ColumnValue>> {
    const given = readObject(value, 'request');
    for (const name of given.keys()) {
      if (!this.#request.has(name)) {
        const message = `no feature of service '${this.#options.service.name}' needs request data ${quoteName(name)}`;
        throw new ApiError('unknown_request_data', message, { expected: [...this.#request.keys()] });
      }
    }
    const data: Record<string, ColumnValue> = Object.create(null);
    for (const [name, { needed, nullable, read }] of this.#request) {
      const raw = given.get(name);
      if (raw === undefined || raw === null) {
        if (!needed) continue;
        if (!nullable) {
          throw new ApiError('missing_request_data', `request data '${name}' is missing`, { column: name });
        }
        data[name] = null;
        continue;
      }
      const result = read(raw);
      if (isFailure(result)) {
        throw new ApiError('invalid_request_data', result.message, { code: result.code, column: name });
      }
      data[name] = result;
    }
    return data;
  }

  #atMs(value: unknown, asked: FeatureQuestion['asked']): number {
    const { clock, wallClock, service } = this.#options;
    const nowMs = clock.nowMs();
    let atMs: number;
    if (value === undefined || value === null) {
      atMs = asked === null ? nowMs : asked.event.eventTimeMs;
    } else {
      const result = readTime(value);
      if (isFailure(result)) throw new ApiError('invalid_at', result.message, { code: result.code });
      atMs = result as number;
    }
    if (atMs < nowMs - this.#asOfRetentionMs) {
      throw new ApiError(
        'at_too_old',
        `service '${service.name}' answers up to ${this.#asOfRetentionMs} ms back`,
        {
          as_of_retention_ms: this.#asOfRetentionMs,
          oldest: new Date(nowMs - this.#asOfRetentionMs).toISOString(),
        },
      );
    }
    // Event time may have paused (a replay): what is ahead of it alone is not in the future.
    if (atMs > Math.max(nowMs, wallClock.nowMs()) + this.#maxFutureMs) {
      throw new ApiError(
        'at_in_future',
        `service '${service.name}' answers up to ${this.#maxFutureMs} ms ahead of now`,
        {
          max_future_ms: this.#maxFutureMs,
        },
      );
    }
    return atMs;
  }
}

/** null: none was given. */
function readEntityKeyOf(entity: string, value: unknown): string | null {
  if (value === undefined || value === null) return null;
  const result = readEntityKey(value);
  if (result.ok) return result.key;
  if (result.problem === 'key_too_long') {
    const message = `the key of entity '${entity}' must be at most ${ENTITY_KEY_MAX_BYTES} bytes of UTF-8`;
    throw new ApiError('key_too_long', message, { entity });
  }
  const expected =
    result.problem === 'invalid_text'
      ? 'well-formed Unicode: it has a lone surrogate'
      : 'a string, or an integer within ±(2^53 − 1)';
  throw new ApiError('invalid_entity_key', `the key of entity '${entity}' must be ${expected}`, { entity });
}

function eventKey(column: string, event: DecodedEvent): string | null {
  const value = event.row[column];
  return value === null || value === undefined ? null : String(value);
}
