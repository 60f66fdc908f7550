/** A tile store that remembers the fields of every state, which no store interface lists: for tests. */
import { ForwardingStore } from '../store/testing/forwarding-store.ts';
import type { CompareAndSet, FieldName, StateAddress } from '../store/tile-store.ts';

export class FieldTracker extends ForwardingStore {
  readonly #states = new Map<string, Map<FieldName, Uint8Array>>();

  /** The fields of each state of a view. */
  *statesOf(namespace: string): Iterable<ReadonlyMap<FieldName, Uint8Array>> {
    for (const [id, fields] of this.#states) if (id.startsWith(namespace)) yield fields;
  }

  /** The fields of one state; none where it does not exist. */
  fieldsOf({ namespace, key }: StateAddress): ReadonlyMap<FieldName, Uint8Array> {
    return this.#states.get(namespace + key) ?? new Map();
  }

  override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await super.compareAndSet(writes);
    writes.forEach(({ address, next, changes }, i) => {
      if (!won[i]) return;
      const id = address.namespace + address.key;
      const fields = this.#states.get(id) ?? new Map<FieldName, Uint8Array>();
      for (const [field, bytes] of changes) {
        if (bytes === null) fields.delete(field);
        else fields.set(field, bytes);
      }
      if (next !== null) this.#states.set(id, fields);
      else if (fields.size === 0) this.#states.delete(id);
      else throw new Error(`a state was ended and left the fields ${[...fields.keys()].join(', ')}`);
    });
    return won;
  }
}
