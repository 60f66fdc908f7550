/** Callers waiting for a partition to reach an offset; woken by whoever moves the durable end. */
export class OffsetWaiters {
  readonly #waiting = new Map<number, Set<Waiter>>();

  /** Resolves when `wake` reports an end beyond `offset`, or when the signal aborts; rejects on `rejectAll`. */
  wait(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiters = this.#waiting.get(partition) ?? new Set();
      this.#waiting.set(partition, waiters);
      const settle = (act: () => void): void => {
        waiters.delete(waiter);
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const onAbort = (): void => settle(resolve);
      const waiter: Waiter = {
        offset,
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
      };
      waiters.add(waiter);
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
    });
  }

  wake(partition: number, endOffset: number): void {
    for (const waiter of [...(this.#waiting.get(partition) ?? [])]) {
      if (waiter.offset < endOffset) waiter.resolve();
    }
  }

  rejectAll(error: Error): void {
    for (const waiters of this.#waiting.values()) for (const waiter of [...waiters]) waiter.reject(error);
  }
}

interface Waiter {
  readonly offset: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
