/** The store is at its size limit or its disk is full. Nothing of the call was written. Retryable once there is room. */
export class StoreFullError extends Error {
  override readonly name = 'StoreFullError';
}

/** A call after `close()`. Never retryable. */
export class StoreClosedError extends Error {
  override readonly name = 'StoreClosedError';
}

/**
 * The store was filled by another version of Millrace, or in another way than it is opened: over other shards, by another
 * clock. The message says what to change. Never retryable.
 */
export class StoreFormatError extends Error {
  override readonly name = 'StoreFormatError';
}

/**
 * The store did not answer, or refused for now: a connection lost, a timeout, a failover, a slot being moved. Writes of
 * the call may or may not have happened, even later. Retryable: read again, then compare-and-set again.
 */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
}

/** Nobody has filled the store where it was asked for. Never retryable: somebody else fills it, or the address is wrong. */
export class StoreUnusedError extends Error {
  override readonly name = 'StoreUnusedError';
}

/** The store is set up so that it could lose or drop what was written. The message says what to change. Never retryable. */
export class StoreSetupError extends Error {
  override readonly name = 'StoreSetupError';
}
