import { LinkedList } from '../../engine/linked-list.ts';

/** Callers waiting for a partition to reach an offset; woken by whoever moves the durable end. */
export class OffsetWaiters {
  /** By partition. */
  readonly #waiting: (LinkedList<Waiter> | undefined)[] = [];

  /** Resolves when `wake` reports an end beyond `offset`, or when the signal aborts; rejects on `rejectAll`. */
  wait(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        waiters.remove(node);
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const onAbort = (): void => settle(resolve);
      this.#waiting[partition] ??= new LinkedList();
      const waiters = this.#waiting[partition];
      const node = waiters.add({
        offset,
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
      });
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
    });
  }

  wake(partition: number, endOffset: number): void {
    for (const waiter of this.#waiting[partition] ?? []) {
      if (waiter.offset < endOffset) waiter.resolve();
    }
  }

  rejectAll(error: Error): void {
    for (const waiters of this.#waiting) for (const waiter of waiters ?? []) waiter.reject(error);
  }
}

interface Waiter {
  readonly offset: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
