/** The value of an operation over given rows, by way of encoded parts. For tests. */
import { ByteReader, ByteWriter } from '../../bytes.ts';
import { operationRegistry } from '../operation-registry.ts';
import type { ColumnType, FeatureValue, FinishedWindow } from '../partial-aggregate.ts';
import { partialKey, partialRegistry } from '../partial-registry.ts';
import { type Sample, storageOf, toBlock, type Value } from './row-samples.ts';

export const WINDOW: FinishedWindow = { atMs: 100_000, fromMs: 0, toMs: 100_000 };

/** Over parts of rows, each encoded and absorbed. `by`: the type of `Sample.by`, for operations that order by it. */
export function answer(
  name: string,
  type: ColumnType,
  parts: readonly (readonly Sample[])[],
  params: readonly number[] = [],
  column: string | null = 'x',
  window: FinishedWindow = WINDOW,
  by: ColumnType = 'double',
): FeatureValue {
  const operation = operationRegistry.get(name)!;
  const ordered = operation.orderedBy !== undefined;
  const states = operation.partials(column, params, ordered ? 'by' : undefined).map((request) => {
    const storage = request.need === 'hash' ? 'number' : storageOf(type);
    const partial = partialRegistry.get(request.kind)!({
      key: partialKey(request),
      column: request.column === null ? -1 : 0,
      storage,
      type,
      ...(ordered ? { orderBy: { column: 1, storage: storageOf(by), type: by } } : {}),
      params: request.params,
    });
    const state = partial.create();
    for (const part of parts) {
      const block = toBlock(part, storage, ordered ? storageOf(by) : undefined);
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

export const nullIfNone = (values: readonly Value[]): FeatureValue => (values.length === 0 ? null : values);
