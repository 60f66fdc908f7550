/** The store that a test of the contract works on, and short ways to say what is done to it. */
import { afterEach, beforeEach } from 'vitest';
import type { CompareAndSet, StateAddress, TileStore, Token } from '../tile-store.ts';

export interface TileStoreHarness {
  readonly store: TileStore;
  /** Shards the store has; at least two. */
  readonly shards: readonly [number, number, ...number[]];
  /** Closes the store and removes what the test left. */
  dispose(): Promise<void>;
}

export const NAMESPACE = '00000000000000aa';
export const OTHER_NAMESPACE = '00000000000000ab';
export const NOW_MS = 1_700_000_000_000;

export const utf8 = new TextEncoder();
export const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes == null ? null : new TextDecoder().decode(bytes);
export const token = (value: number): Token => value.toString(16).padStart(16, '0');

export class OpenedStore {
  #harness: TileStoreHarness | null = null;

  /** To be made in a `describe`: opens a store for each of its tests. */
  constructor(open: () => Promise<TileStoreHarness>) {
    beforeEach(async () => {
      this.#harness = await open();
    });
    afterEach(() => this.#harness!.dispose());
  }

  get store(): TileStore {
    return this.#harness!.store;
  }

  get shard(): number {
    return this.#harness!.shards[0];
  }

  get otherShard(): number {
    return this.#harness!.shards[1];
  }

  readonly address = (key: string, overrides: Partial<StateAddress> = {}): StateAddress => ({
    namespace: NAMESPACE,
    key,
    shard: this.shard,
    ...overrides,
  });

  readonly write = (
    at: StateAddress,
    expected: Token | null,
    next: number | null,
    fields: Record<string, string | null> = {},
    head = `head ${next}`,
  ): CompareAndSet => ({
    address: at,
    expected,
    next: next === null ? null : { token: token(next), head: utf8.encode(head) },
    changes: new Map(
      Object.entries(fields).map(([name, value]) => [name, value === null ? null : utf8.encode(value)]),
    ),
  });

  readonly see = async (at: StateAddress, fields: string[] = []) => {
    const [state] = await this.store.read([{ address: at, fields }]);
    return { token: state!.token, head: text(state!.head), fields: state!.fields.map(text) };
  };

  readonly cas = async (...writes: CompareAndSet[]): Promise<boolean[]> => this.store.compareAndSet(writes);
}
