/**
 * Reads of the tile store that end at a deadline. A store cannot take a read back: one that is given up goes on without
 * anybody waiting for it, and holds a place in the store's queue. So many states may be asked for in such reads, and no
 * more: where a store does not answer at all, further reads are refused at once.
 */
import type { ReadRequest, ReadState, TileStore } from '../engine/store/tile-store.ts';
import { LATE, settledBy } from './deadline.ts';

/** States asked for in reads that were given up and are not over. */
export const ABANDONED_STATES_MAX = 4_096;

/** Why there are no states. */
export class ReadFailure {
  /** `timed_out`: the store did not answer in time; `error`: it cannot be read. */
  readonly status: 'timed_out' | 'error';
  readonly cause: unknown;

  constructor(status: ReadFailure['status'], cause: unknown) {
    this.status = status;
    this.cause = cause;
  }
}

const TIMED_OUT = new ReadFailure('timed_out', undefined);

export class DeadlineReads {
  readonly #store: Pick<TileStore, 'read'>;
  readonly #abandonedMax: number;
  #abandoned = 0;

  constructor(
    store: Pick<TileStore, 'read'>,
    { abandonedMax = ABANDONED_STATES_MAX }: { readonly abandonedMax?: number } = {},
  ) {
    this.#store = store;
    this.#abandonedMax = abandonedMax;
  }

  /** States asked for in reads that were given up and are not over. */
  get abandoned(): number {
    return this.#abandoned;
  }

  /**
   * The states, or why there are none; never rejects. Bytes are valid as those of `TileStore.read`.
   * @param untilMs on the clock of `performance.now()`; Infinity: however long it takes
   */
  async read(requests: readonly ReadRequest[], untilMs: number): Promise<ReadState[] | ReadFailure> {
    if (untilMs <= performance.now()) return TIMED_OUT;
    if (this.#abandoned >= this.#abandonedMax) {
      return new ReadFailure('error', new Error('too many reads wait for the store already'));
    }
    try {
      const reading = this.#store.read(requests);
      const states = await settledBy(reading, untilMs);
      if (states !== LATE) return states;
      const { length } = requests;
      this.#abandoned += length;
      const isOver = (): void => {
        this.#abandoned -= length;
      };
      reading.then(isOver, isOver);
      return TIMED_OUT;
    } catch (error) {
      return new ReadFailure('error', error);
    }
  }
}
