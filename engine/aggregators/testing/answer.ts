/** The value of an operation, the way tiles come by it. For tests. */
import { ByteReader, ByteWriter } from '../../bytes.ts';
import { operationRegistry } from '../operation-registry.ts';
import type { ColumnType, FeatureValue, FinishedWindow } from '../partial-aggregate.ts';
import { partialKey, partialRegistry } from '../partial-registry.ts';
import { type Sample, storageOf, toBlock, type Value } from './row-samples.ts';

export const WINDOW: FinishedWindow = { atMs: 100_000, fromMs: 0, toMs: 100_000 };

/** The value of an operation over parts of rows, each encoded and absorbed. */
export function answer(
  name: string,
  type: ColumnType,
  parts: readonly (readonly Sample[])[],
  params: readonly number[] = [],
  column: string | null = 'x',
  window: FinishedWindow = WINDOW,
): FeatureValue {
  const operation = operationRegistry.get(name)!;
  const states = operation.partials(column, params).map((request) => {
    const storage = request.need === 'hash' ? 'number' : storageOf(type);
    const index = request.column === null ? -1 : 0;
    const args = { key: partialKey(request), column: index, storage, type, params: request.params };
    const partial = partialRegistry.get(request.kind)!(args);
    const state = partial.create();
    for (const part of parts) {
      const block = toBlock(part, storage);
      const tile = partial.create();
      partial.addRows(tile, block, 0, block.length);
      const w = new ByteWriter();
      partial.encode(tile, w);
      partial.absorb(state, new ByteReader(w.finish()));
    }
    return state;
  });
  return operation.finalize(states, type, params, window);
}

/** Rows a second apart with these values. */
export function rowsOf(values: readonly Value[]): Sample[] {
  return values.map((value, i) => ({ timeMs: i * 1000, idHi: 0, idLo: i, value }));
}

export function nonNull<T>(values: readonly (T | null)[]): T[] {
  return values.filter((value) => value !== null);
}
