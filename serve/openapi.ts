/** The description of the routes, for /openapi.json; nothing is checked with these schemas. */
import { DEADLINE_MAX_MS } from '../engine/definitions/feature-service.ts';
import { ROW_ERRORS } from '../engine/definitions/row-error.ts';
import { ARROW_STREAM_TYPE, FEATURES_TYPES, JSON_TYPE, MESSAGE_PACK_TYPES } from './content-types.ts';
import { DEADLINE_HEADER } from './deadline.ts';
import { API_ERRORS } from './error-catalogue.ts';
import { FEATURE_STATUSES } from './feature-answer.ts';
import { REBUILD_STATES } from './rebuild-status.ts';

export function openApiInfo() {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Millrace',
      version: '1',
      description: 'Events in, sliding-window features out.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
  };
}

type Schema = Readonly<Record<string, unknown>>;

const object = (properties: Schema, required: readonly string[] = []): Schema => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});

const ERROR: Schema = {
  description: 'An error; every error has this shape, as MessagePack where the header accept prefers that.',
  ...object(
    {
      error: object(
        {
          code: { type: 'string', enum: API_ERRORS.map(({ code }) => code) },
          message: { type: 'string' },
          details: { type: 'object', additionalProperties: true },
        },
        ['code', 'message', 'details'],
      ),
    },
    ['error'],
  ),
};

const BODY_TYPES: readonly string[] = [JSON_TYPE, ...MESSAGE_PACK_TYPES];

/** The same in each of the types, by the header `accept`. */
const inTypes = (types: readonly string[], description: string, schema: Schema) => ({
  description,
  content: Object.fromEntries(types.map((type) => [type, { schema }])),
});

const answers = (ok: Schema): Schema => ({ 200: ok, '4xx': ERROR, '5xx': ERROR });

const PUSH_RESULT: Schema = object(
  {
    accepted: { type: 'integer' },
    duplicates: { type: 'integer', description: 'Repetitions of an event id, as far as known.' },
    rejected: {
      type: 'array',
      items: object({
        index: { type: 'integer', description: 'Position in the push, from 0; blank lines are not counted.' },
        code: {
          type: 'string',
          enum: [...ROW_ERRORS.map(({ code }) => code), 'too_far_in_future', 'not_json'],
        },
        column: { type: ['string', 'null'] },
        message: { type: 'string' },
      }),
    },
  },
  ['accepted', 'duplicates', 'rejected'],
);

const EVENT: Schema = object(
  {
    source: { type: 'string' },
    data: { type: 'object', description: 'Columns of the source.', additionalProperties: true },
  },
  ['source', 'data'],
);

const QUESTION = {
  entities: {
    type: 'object',
    description: 'Entity name → key, as text or integer. May be left out where the event has it.',
    additionalProperties: { type: ['string', 'integer'] },
  },
  request: {
    type: 'object',
    description: 'Request data the service needs, by name.',
    additionalProperties: true,
  },
  at: {
    type: ['string', 'integer'],
    description:
      'As-of time: ISO 8601 with a zone, or ms since the epoch. Default: the time of the event, else now.',
  },
  event: { ...EVENT, description: 'The event being decided: counted as if it had arrived.' },
} as const;

const FEATURES: Schema = object(
  {
    features: { type: 'object', description: 'Feature name → value.', additionalProperties: true },
    metadata: object({
      at: { type: 'string', format: 'date-time' },
      at_ms: { type: 'integer' },
      features: {
        type: 'object',
        additionalProperties: object({
          status: { type: 'string', enum: FEATURE_STATUSES },
          age_ms: {
            type: 'integer',
            description: 'Of a `stale` value: how old it, or its newest event, is.',
          },
          window: object({
            after: { type: ['string', 'null'], description: 'Exclusive; null: no old edge.' },
            until: { type: 'string', description: 'Inclusive.' },
          }),
          missing: object({
            after: { type: ['string', 'null'], description: 'null: not known since when.' },
            until: { type: 'string', description: 'Records appended up to then are gone that may count.' },
          }),
        }),
      },
    }),
    ingested: {
      type: 'string',
      enum: ['recorded', 'duplicate', 'unknown'],
      description: 'With `ingest` only; `unknown`: not known to be durable by the deadline.',
    },
  },
  ['features'],
);

/** What a request says once, of one answer or of all rows. */
const ANSWERING = {
  features: {
    type: 'array',
    items: { type: 'string' },
    minItems: 1,
    uniqueItems: true,
    description: 'Only these, and entities and request data only as they need them. Default: all.',
  },
  mode: {
    type: 'string',
    enum: ['strict', 'partial'],
    default: 'strict',
    description:
      'strict: all features by the deadline, or 503 or 504; partial: 200 with those that can be had.',
  },
} as const;

const DEADLINE: Schema = object({
  [DEADLINE_HEADER]: {
    type: 'integer',
    minimum: 1,
    maximum: DEADLINE_MAX_MS,
    description: "Time for the answer from when the request arrives, ms. Default: the service's own.",
  },
});

export function pushSchema(): Schema {
  return {
    summary: 'Push events.',
    params: object({ source: { type: 'string' } }, ['source']),
    querystring: object({
      wait: { type: 'string', enum: ['durable', 'applied'], default: 'durable' },
      dry_run: { type: 'string', enum: ['true', 'false'], default: 'false' },
    }),
    consumes: [...BODY_TYPES, 'application/x-ndjson'],
    body: object({ events: { type: 'array', items: { type: 'object', additionalProperties: true } } }, [
      'events',
    ]),
    response: {
      ...answers(PUSH_RESULT),
      422: { description: 'Every event was rejected (the body of 200).', ...PUSH_RESULT },
    },
  };
}

export function featuresSchema(): Schema {
  return {
    summary: 'Read the features of a service.',
    params: object({ service: { type: 'string' } }, ['service']),
    headers: DEADLINE,
    consumes: BODY_TYPES,
    body: object({
      ...QUESTION,
      ...ANSWERING,
      ingest: {
        type: 'boolean',
        default: false,
        description: 'Record the event before answering, after everything else is done.',
      },
      metadata: {
        type: 'boolean',
        default: false,
        description:
          'Status and window of every feature; without it only of those that are neither present nor empty.',
      },
    }),
    response: answers(inTypes(FEATURES_TYPES, 'The features.', FEATURES)),
  };
}

export function batchSchema(): Schema {
  const rows = object({ rows: { type: 'array', items: { anyOf: [FEATURES, ERROR] } } }, ['rows']);
  return {
    summary: 'Read the features of a service for many rows.',
    params: object({ service: { type: 'string' } }, ['service']),
    headers: DEADLINE,
    consumes: BODY_TYPES,
    body: object(
      {
        rows: { type: 'array', items: object(QUESTION) },
        ...ANSWERING,
        metadata: { type: 'boolean', default: false },
      },
      ['rows'],
    ),
    response: answers({
      description: 'A row for each question.',
      content: {
        ...inTypes(FEATURES_TYPES, '', rows).content,
        [ARROW_STREAM_TYPE]: {
          schema: {
            type: 'string',
            contentMediaType: ARROW_STREAM_TYPE,
            description: 'An Arrow IPC stream.',
          },
        },
      },
    }),
  };
}

const GAP: Schema = object({
  source: { type: 'string' },
  partition: { type: 'integer' },
  from_offset: { type: 'integer' },
  to_offset: { type: 'integer', description: 'Exclusive.' },
  after: { type: ['string', 'null'], description: 'The records were appended after that; null: not known.' },
  until: { type: 'string', description: 'The records were appended by then.' },
  views: { type: 'array', items: { type: 'string' } },
});

export function gapsSchema(): Schema {
  return {
    summary: 'Records that were gone before they were applied, as far as a window may ask for them.',
    response: answers(object({ gaps: { type: 'array', items: GAP } }, ['gaps'])),
  };
}

export function acknowledgeSchema(): Schema {
  return {
    summary: 'Forget the gaps of a source: its values no longer say that they may lack something.',
    body: object({ source: { type: 'string' } }, ['source']),
    response: answers(object({ acknowledged: { type: 'integer' } }, ['acknowledged'])),
  };
}

export function rebuildSchema(summary: string): Schema {
  const status = object(
    {
      state: { type: 'string', enum: REBUILD_STATES },
      applied_records: { type: 'integer' },
      total_records: { type: 'integer' },
      dead_letters: { type: 'integer' },
      reason: { type: ['string', 'null'] },
    },
    ['state', 'applied_records', 'total_records', 'dead_letters', 'reason'],
  );
  return { summary, params: object({ view: { type: 'string' } }, ['view']), response: answers(status) };
}

export function backfillSchema(summary: string): Schema {
  return {
    summary,
    params: object({ view: { type: 'string' } }, ['view']),
    response: answers({ type: 'object' }),
  };
}

export function plainSchema(summary: string): Schema {
  return { summary };
}
