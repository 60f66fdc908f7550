/** The value of an operation over given rows, by way of encoded parts. For tests. */
import { ByteReader, ByteWriter } from '../../bytes.ts';
import { operationRegistry } from '../operation-registry.ts';
import type { ColumnType, FeatureValue, FinishedWindow, Operation } from '../partial-aggregate.ts';
import { partialKey, partialRegistry } from '../partial-registry.ts';
import { type Sample, storageOf, toBlock, type Value } from './row-samples.ts';

export const WINDOW: FinishedWindow = { atMs: 100_000, fromMs: 0, toMs: 100_000 };

/** States over parts of rows, each encoded and absorbed. A column needed as hashes has hashes for values. */
function statesOf(
  operation: Operation,
  type: ColumnType,
  parts: readonly (readonly Sample[])[],
  params: readonly number[],
  column: string | null,
  by: ColumnType,
): unknown[] {
  const ordered = operation.orderedBy !== undefined;
  return operation.partials(column, params, ordered ? 'by' : undefined).map((request) => {
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
}

/** The value over parts of rows. `by`: the type of `Sample.by`, for operations that order by it. */
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
  return operation.finalize(statesOf(operation, type, parts, params, column, by), type, params, window);
}

/** Whether that value leaves something out. */
export function isTruncated(
  name: string,
  type: ColumnType,
  parts: readonly (readonly Sample[])[],
  params: readonly number[],
): boolean {
  const operation = operationRegistry.get(name)!;
  return operation.truncated!(statesOf(operation, type, parts, params, 'x', 'double'));
}

/** Rows a second apart with these values. */
export function rowsOf(values: readonly Value[]): Sample[] {
  return values.map((value, i) => ({ timeMs: i * 1000, idHi: 0, idLo: i, value }));
}

export function nonNull<T>(values: readonly (T | null)[]): T[] {
  return values.filter((value) => value !== null);
}

export const nullIfNone = (values: readonly Value[]): FeatureValue => (values.length === 0 ? null : values);
