/** The log is at its size limit or its disk is full. Nothing of the call was appended. Retryable once there is room. */
export class LogFullError extends Error {
  override readonly name = 'LogFullError';
}

/** A call after `close()`. Never retryable. */
export class LogClosedError extends Error {
  override readonly name = 'LogClosedError';
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
