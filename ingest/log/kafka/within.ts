/** Bounds of time for what kafkajs may never settle. */

/** The promise's outcome, or the rejection with `late()` after `timeoutMs`; the promise itself goes on unobserved. */
export function within<T>(timeoutMs: number, promise: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), timeoutMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Resolves when the promise settles either way, or after `timeoutMs`. */
export function settledWithin(timeoutMs: number, promise: Promise<unknown>): Promise<void> {
  return within(timeoutMs, promise, () => new Error('late')).then(
    () => {},
    () => {},
  );
}
