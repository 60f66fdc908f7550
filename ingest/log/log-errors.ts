import type { LogEnds } from './event-log.ts';

/** The log is at its size limit or its disk is full. Nothing of the call was appended. Retryable once there is room. */
export class LogFullError extends Error {
  override readonly name = 'LogFullError';
}

/** A call after `close()`. Never retryable. */
export class LogClosedError extends Error {
  override readonly name = 'LogClosedError';
}

/**
 * The log does not hold the offset asked for: retention dropped it, or the log lost its end. Whoever reads must
 * compare its position with `ends()` before it goes on.
 */
export class OffsetOutOfRangeError extends Error {
  override readonly name = 'OffsetOutOfRangeError';

  /** @param log which partition it is of */
  constructor(log: string, offset: number, { startOffset, endOffset }: LogEnds) {
    super(`${log}, does not hold offset ${offset}: it goes from ${startOffset} to ${endOffset}`);
  }
}

/**
 * A flush failed, so what the disk holds of the last writes is unknown: the log takes no more appends until it is
 * opened again. Whether the records of the failed call exist is unknown.
 */
export class LogBrokenError extends Error {
  override readonly name = 'LogBrokenError';
}

/** A record, source or partition no log accepts. Never retryable. */
export class InvalidRecordError extends Error {
  override readonly name = 'InvalidRecordError';
}
