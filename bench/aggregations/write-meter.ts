/** A tile store that also counts what is written to it, and remembers the head and the fields of every state. */
import type { CompareAndSet, FieldName, StateAddress, TileStore } from '../../engine/store/tile-store.ts';
import { FieldTracker } from '../../engine/testing/field-tracker.ts';

export class WriteMeter extends FieldTracker {
  readonly #heads = new Map<string, Uint8Array>();
  /** Of heads and fields, in writes that won. */
  bytesWritten = 0;
  /** Largest value of a field that was ever written. */
  largestField: { readonly name: FieldName; readonly bytes: number } = { name: '', bytes: 0 };

  constructor(store: TileStore) {
    super(store);
  }

  override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await super.compareAndSet(writes);
    writes.forEach(({ address, next, changes }, i) => {
      if (!won[i]) return;
      const id = address.namespace + address.key;
      if (next === null) this.#heads.delete(id);
      else this.#heads.set(id, next.head);
      this.#count('head', next?.head ?? null);
      for (const [field, bytes] of changes) this.#count(field, bytes);
    });
    return won;
  }

  #count(name: FieldName, value: Uint8Array | null): void {
    if (value === null) return;
    this.bytesWritten += value.length;
    if (value.length > this.largestField.bytes) this.largestField = { name, bytes: value.length };
  }

  headOf({ namespace, key }: StateAddress): Uint8Array {
    return this.#heads.get(namespace + key)!;
  }
}
