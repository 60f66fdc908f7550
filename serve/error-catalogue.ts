/**
 * Every error an HTTP answer can carry: `{"error": {"code", "message", "details"}}`. Messages and details name
 * fields, columns and definitions; they never hold entity keys or values of events or request data.
 */

export interface ErrorEntry {
  readonly code: string;
  readonly status: number;
  /** Whether the same request may succeed later. Stated, never assumed. */
  readonly retryable: boolean;
  readonly meaning: string;
}

export const API_ERRORS = [
  {
    code: 'bad_request',
    status: 400,
    retryable: false,
    meaning: 'The request is not well-formed HTTP, or its URL cannot be read.',
  },
  {
    code: 'invalid_json',
    status: 400,
    retryable: false,
    meaning: 'The body is not UTF-8 JSON, or has a key that is not allowed anywhere (`__proto__`).',
  },
  {
    code: 'invalid_msgpack',
    status: 400,
    retryable: false,
    meaning:
      'The body is not MessagePack, or has extension types, binary data, the key `__proto__`, or more or deeper values than is allowed.',
  },
  {
    code: 'invalid_body',
    status: 400,
    retryable: false,
    meaning: 'The body, or a field of it, has the wrong shape.',
  },
  {
    code: 'unknown_field',
    status: 400,
    retryable: false,
    meaning: 'The body has a field that is not known.',
  },
  {
    code: 'unknown_parameter',
    status: 400,
    retryable: false,
    meaning: 'The query has a parameter that is not known.',
  },
  {
    code: 'invalid_parameter',
    status: 400,
    retryable: false,
    meaning: 'A query parameter has a value that is not allowed.',
  },
  {
    code: 'invalid_header',
    status: 400,
    retryable: false,
    meaning: 'A header has a value that is not allowed; details: `header`.',
  },
  {
    code: 'unknown_feature',
    status: 400,
    retryable: false,
    meaning: '`features` names one that the service does not have; details: `expected`, those it has.',
  },
  {
    code: 'missing_entity',
    status: 400,
    retryable: false,
    meaning: 'The key of an entity the service needs is missing or null.',
  },
  {
    code: 'unknown_entity',
    status: 400,
    retryable: false,
    meaning: 'The request names an entity the service does not need.',
  },
  {
    code: 'invalid_entity_key',
    status: 400,
    retryable: false,
    meaning: 'An entity key is neither text nor an integer within ±(2⁵³ − 1), or is not well-formed Unicode.',
  },
  {
    code: 'key_too_long',
    status: 400,
    retryable: false,
    meaning: 'An entity key is longer than 1024 bytes of UTF-8.',
  },
  {
    code: 'missing_request_data',
    status: 400,
    retryable: false,
    meaning: 'Request data that a feature of the service needs is missing.',
  },
  {
    code: 'unknown_request_data',
    status: 400,
    retryable: false,
    meaning: 'The request has request data that no feature of the service needs.',
  },
  {
    code: 'invalid_request_data',
    status: 400,
    retryable: false,
    meaning: 'A value of the request data is not of its declared type.',
  },
  {
    code: 'invalid_at',
    status: 400,
    retryable: false,
    meaning: '`at` is neither an ISO 8601 time with a zone nor whole milliseconds since the epoch.',
  },
  {
    code: 'at_too_old',
    status: 400,
    retryable: false,
    meaning: '`at` is further back than the `asOfRetention` of a view the service reads.',
  },
  {
    code: 'at_in_future',
    status: 400,
    retryable: false,
    meaning: '`at` is further ahead than the `maxFuture` of the sources the service reads.',
  },
  {
    code: 'invalid_event',
    status: 400,
    retryable: false,
    meaning: 'The event asked about does not fit its source; details: `code` (a row error) and `column`.',
  },
  {
    code: 'event_not_used',
    status: 400,
    retryable: false,
    meaning: 'No view of the service reads the source of the event.',
  },
  {
    code: 'event_required',
    status: 400,
    retryable: false,
    meaning: '`ingest` is true but there is no `event`.',
  },
  { code: 'unknown_source', status: 404, retryable: false, meaning: 'There is no source of this name.' },
  {
    code: 'unknown_service',
    status: 404,
    retryable: false,
    meaning: 'There is no feature service of this name.',
  },
  { code: 'unknown_view', status: 404, retryable: false, meaning: 'There is no feature view of this name.' },
  {
    code: 'unknown_dead_letter',
    status: 404,
    retryable: false,
    meaning: 'No event of this partition and offset is among the dead letters.',
  },
  { code: 'not_found', status: 404, retryable: false, meaning: 'There is no such route.' },
  {
    code: 'method_not_allowed',
    status: 405,
    retryable: false,
    meaning: 'The route has other methods; see the header `allow`.',
  },
  {
    code: 'not_acceptable',
    status: 406,
    retryable: false,
    meaning: 'The answer cannot be had as any content type of the header `accept`; details: `offered`.',
  },
  {
    code: 'log_too_short',
    status: 409,
    retryable: false,
    meaning:
      'The log has lost events that the view can reach; `accept_gap=true` rebuilds it from what is left.',
  },
  {
    code: 'backfill_lost',
    status: 409,
    retryable: false,
    meaning:
      'The backfill was given up, is another one, or was begun before the engine was started last: begin again, and write all states.',
  },
  {
    code: 'history_of_other_log',
    status: 409,
    retryable: false,
    meaning: 'The history says offsets of another log than that of the source.',
  },
  {
    code: 'other_rebuild',
    status: 409,
    retryable: false,
    meaning: 'The view is being rebuilt from the log: wait for the end of that, or give it up.',
  },
  { code: 'request_timeout', status: 408, retryable: true, meaning: 'The request did not arrive in time.' },
  {
    code: 'body_too_large',
    status: 413,
    retryable: false,
    meaning: 'The body is larger than the limit (16 MiB by default; of a request for one row 1 MiB).',
  },
  {
    code: 'too_many_events',
    status: 413,
    retryable: false,
    meaning: 'The push has more events than the limit (50,000 by default).',
  },
  {
    code: 'event_too_large',
    status: 413,
    retryable: false,
    meaning:
      'An event is larger than the log takes; on Kafka the topic says how large (`max.message.bytes`).',
  },
  {
    code: 'too_many_rows',
    status: 413,
    retryable: false,
    meaning: 'The batch has more rows than the limit (1,000 by default).',
  },
  {
    code: 'unsupported_media_type',
    status: 415,
    retryable: false,
    meaning: 'The content type or encoding of the body is not supported.',
  },
  {
    code: 'event_not_usable',
    status: 422,
    retryable: false,
    meaning:
      "A view's filter, projection or key cannot use the event asked about; details: `view` and `column`.",
  },
  {
    code: 'headers_too_large',
    status: 431,
    retryable: false,
    meaning: 'The headers of the request are too large.',
  },
  {
    code: 'overloaded',
    status: 429,
    retryable: true,
    meaning: 'Too many pushes are being taken; see the header `retry-after`.',
  },
  {
    code: 'internal',
    status: 500,
    retryable: false,
    meaning: 'A defect of the server; details: `request_id`, as in the log.',
  },
  {
    code: 'serving_overloaded',
    status: 503,
    retryable: true,
    meaning: 'There are more feature requests than can be answered in time; see the header `retry-after`.',
  },
  {
    code: 'store_unavailable',
    status: 503,
    retryable: true,
    meaning: 'The tile store cannot be read, or written.',
  },
  {
    code: 'store_full',
    status: 503,
    retryable: true,
    meaning: 'There is no room in the tile store; nothing was changed.',
  },
  {
    code: 'log_unavailable',
    status: 503,
    retryable: true,
    meaning: 'The events could not be recorded; none of them is acknowledged.',
  },
  {
    code: 'log_full',
    status: 503,
    retryable: true,
    meaning: 'There is no room for more events; none of them is acknowledged.',
  },
  {
    code: 'not_applied_in_time',
    status: 503,
    retryable: true,
    meaning: 'The events are recorded, but not yet visible to reads.',
  },
  {
    code: 'not_ready',
    status: 503,
    retryable: true,
    meaning: 'The process does not ingest as it should; details: `reasons`.',
  },
  { code: 'shutting_down', status: 503, retryable: true, meaning: 'The process is stopping.' },
  {
    code: 'deadline_exceeded',
    status: 504,
    retryable: true,
    meaning:
      'There is no answer by the deadline. With `ingest`, details: `ingested`, `not_recorded` or `unknown`; recording the event again is safe where it has an id.',
  },
] as const satisfies readonly ErrorEntry[];

export type ApiErrorCode = (typeof API_ERRORS)[number]['code'];

const ENTRIES: ReadonlyMap<string, ErrorEntry> = new Map(API_ERRORS.map((entry) => [entry.code, entry]));

/** Seconds after which a retryable error says to try again. */
const RETRY_AFTER_S = '1';

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ApiErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return ENTRIES.get(this.code)!.status;
  }

  /** Value of the header `retry-after`; null where trying again does not help. */
  get retryAfter(): string | null {
    return ENTRIES.get(this.code)!.retryable ? RETRY_AFTER_S : null;
  }

  body(): { readonly error: { code: string; message: string; details: Readonly<Record<string, unknown>> } } {
    return { error: { code: this.code, message: this.message, details: this.details } };
  }
}

/** A name from a request as it may appear in a message: quoted, short, and harmless to a terminal. */
export function quoteName(name: string): string {
  const short = name.length > 64 ? `${name.slice(0, 64)}…` : name;
  return `'${short.replace(/[^\x20-\x7e…]/g, '?')}'`;
}
