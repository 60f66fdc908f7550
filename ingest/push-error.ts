/** Why a push as a whole was not taken. Nothing of it is acknowledged. */

export type PushErrorCode =
  /** The bytes of pushes being written reached their limit. */
  | 'overloaded'
  /** The log is at its size limit or its disk is full. */
  | 'log_full'
  /** An event is larger than the log takes. */
  | 'event_too_large'
  /** The log could not be written. */
  | 'log_unavailable'
  /** The events are durable, but not applied within the time allowed. */
  | 'not_applied_in_time'
  /** The process is stopping. */
  | 'shutting_down';

export class PushError extends Error {
  override readonly name = 'PushError';
  readonly code: PushErrorCode;

  constructor(code: PushErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
