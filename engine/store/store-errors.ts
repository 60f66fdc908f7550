/** The store is at its size limit or its disk is full. Nothing of the call was written. Retryable once there is room. */
export class StoreFullError extends Error {
  override readonly name = 'StoreFullError';
}

/** A call after `close()`. Never retryable. */
export class StoreClosedError extends Error {
  override readonly name = 'StoreClosedError';
}

/** The store's files were written by another version of Millrace. Never retryable. */
export class StoreFormatError extends Error {
  override readonly name = 'StoreFormatError';
}
