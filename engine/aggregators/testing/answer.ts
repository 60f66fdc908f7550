/** The value of an operation over rows that lie in several parts. For tests. */
import { ByteReader, ByteWriter } from '../../bytes.ts';
import { operationRegistry } from '../operation-registry.ts';
import type { ColumnType, FeatureValue, FinishedWindow, PartialRequest } from '../partial-aggregate.ts';
import { partialKey, partialRegistry } from '../partial-registry.ts';
import { type Sample, storageOf, toBlock, type Value } from './row-samples.ts';

const WINDOW: FinishedWindow = { atMs: 100_000, fromMs: 0, toMs: 100_000 };

/** A state over parts of rows, each encoded and absorbed. A column needed as hashes has hashes for values. */
function stateOf(request: PartialRequest, type: ColumnType, parts: readonly (readonly Sample[])[]): unknown {
  const storage = request.need === 'hash' ? 'number' : storageOf(type);
  const args = { key: partialKey(request), column: 0, storage, type, params: request.params };
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
}

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
  const states = operation.partials(column, params).map((request) => stateOf(request, type, parts));
  return operation.finalize(states, type, params, window);
}

/** Whether that value leaves something out. */
export function isTruncated(
  name: string,
  type: ColumnType,
  parts: readonly (readonly Sample[])[],
  params: readonly number[],
): boolean {
  const operation = operationRegistry.get(name)!;
  return operation.truncated!(
    operation.partials('x', params).map((request) => stateOf(request, type, parts)),
  );
}

/** Rows a second apart with these values. */
export function rowsOf(values: readonly Value[]): Sample[] {
  return values.map((value, i) => ({ timeMs: i * 1000, idHi: 0, idLo: i, value }));
}
