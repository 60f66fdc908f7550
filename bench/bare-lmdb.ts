/**
 * The yardstick for the store: lmdb alone, with environments opened as the engine opens its own.
 *
 * A `WriteRecorder` notes every write of an engine; `BareLmdb.replay` puts as many bytes under the same keys in
 * transactions of the same size, as concurrently. So the two databases hold the same keys with values of the same
 * lengths at all times, and the same reads can be asked of both. The due index, the log's segment entries and
 * all reads before writes are left out: the engine needs them, putting these values does not.
 */

import { join } from 'node:path';
import type { Storage } from '../embedded/storage.ts';
import { makeDirectory } from '../engine/store/durable-directory.ts';
import {
  type BytesDatabase,
  type Environment,
  openDatabase,
  openEnvironment,
} from '../engine/store/lmdb-environment.ts';
import { fieldKey, stateKey, watermarkKey } from '../engine/store/lmdb-keys.ts';
import { fieldsOf } from '../engine/store/read-fields.ts';
import type { CompareAndSet, MoveWatermark, TileStore } from '../engine/store/tile-store.ts';
import type { AppendRecord } from '../ingest/log/event-log.ts';
import { offsetKey, partitionKey } from '../ingest/log/lmdb-log-keys.ts';

type RecordedCall =
  | {
      readonly kind: 'append';
      readonly source: string;
      readonly records: readonly AppendRecord[];
      readonly offsets: readonly number[];
    }
  | { readonly kind: 'states'; readonly writes: readonly CompareAndSet[] }
  | { readonly kind: 'watermarks'; readonly moves: readonly MoveWatermark[] };

/** Notes the writes that went through to a storage, in the order in which they were committed. */
export class WriteRecorder {
  #calls: RecordedCall[] = [];

  /** Changes the storage in place; to be called before it is used. */
  watch(storage: Storage): Storage {
    const { store } = storage;
    const compareAndSet = store.compareAndSet.bind(store);
    store.compareAndSet = async (writes) => {
      const won = await compareAndSet(writes);
      this.#calls.push({
        kind: 'states',
        writes: won.every(Boolean) ? writes : writes.filter((_, i) => won[i]),
      });
      return won;
    };
    const moveWatermarks = store.moveWatermarks.bind(store);
    store.moveWatermarks = async (moves) => {
      const moved = await moveWatermarks(moves);
      this.#calls.push({ kind: 'watermarks', moves });
      return moved;
    };
    return {
      store,
      storeFlushed: () => storage.storeFlushed(),
      close: () => storage.close(),
      log: async (name, partitions) => {
        const log = await storage.log(name, partitions);
        const append = log.append.bind(log);
        log.append = async (records) => {
          const offsets = await append(records);
          this.#calls.push({ kind: 'append', source: name, records, offsets });
          return offsets;
        };
        return log;
      },
    };
  }

  /** What was written since the last call. */
  take(): readonly RecordedCall[] {
    const calls = this.#calls;
    this.#calls = [];
    return calls;
  }
}

/** A put, or a removal where `bytes` is null; prepared before the clock starts. */
interface Put {
  readonly key: Uint8Array;
  readonly bytes: number | null;
}

/** Lanes of one step run side by side, the transactions of a lane one after another. */
export interface Replay {
  readonly steps: readonly {
    readonly database: 'log' | 'states' | 'watermarks';
    readonly lanes: Put[][][];
  }[];
  /** States written. */
  readonly states: number;
  /** Bytes of all values. */
  readonly bytes: number;
}

/** Keys that a read of the engine found, and the bytes under them. */
export interface PresentKeys {
  readonly keys: readonly Uint8Array[];
  readonly bytes: number;
}

const TOKEN_BYTES = 8;
/** Append time and the length of the stamp. */
const RECORD_HEADER_BYTES = 9;
/** Token, offset, two times and the log's identity. */
const WATERMARK_BYTES = 48;

export class BareLmdb {
  readonly #log: Environment;
  readonly #store: Environment;
  readonly #databases: Readonly<Record<'log' | 'states' | 'watermarks', BytesDatabase>>;
  #filler = new Uint8Array(64 * 1024).fill(0xa5);

  static async open({ path, flush }: { path: string; flush: boolean }): Promise<BareLmdb> {
    const paths = { log: join(path, 'log'), store: join(path, 'store') };
    for (const directory of Object.values(paths)) makeDirectory(directory);
    return new BareLmdb(
      await openEnvironment({ path: paths.log, overlappingSync: false, noSync: !flush }),
      await openEnvironment({ path: paths.store, overlappingSync: true }),
    );
  }

  private constructor(log: Environment, store: Environment) {
    this.#log = log;
    this.#store = store;
    this.#databases = {
      log: openDatabase(this.#log, 'records'),
      states: openDatabase(this.#store, 'states'),
      watermarks: openDatabase(this.#store, 'watermarks'),
    };
  }

  /** Keys and sizes of what was recorded, so that a replay does nothing but put. */
  prepare(calls: readonly RecordedCall[]): Replay {
    const steps: { database: 'log' | 'states' | 'watermarks'; lanes: Put[][][] }[] = [];
    let byView = new Map<string, Put[][]>();
    let states = 0;
    let bytes = 0;
    const endStates = (): void => {
      if (byView.size > 0) steps.push({ database: 'states', lanes: [...byView.values()] });
      byView = new Map();
    };
    for (const call of calls) {
      if (call.kind === 'states') {
        if (call.writes.length === 0) continue;
        // The views of a chunk are written side by side, each view one call after another.
        const view = call.writes[0]!.address.namespace;
        const puts = call.writes.flatMap(putsOfState);
        states += call.writes.length;
        byView.set(view, [...(byView.get(view) ?? []), puts]);
        bytes += sumBytes(puts);
        continue;
      }
      endStates();
      const puts = call.kind === 'append' ? putsOfAppend(call) : call.moves.map(putOfWatermark);
      steps.push({ database: call.kind === 'append' ? 'log' : 'watermarks', lanes: [[puts]] });
      bytes += sumBytes(puts);
    }
    endStates();
    return { steps, states, bytes };
  }

  async replay({ steps }: Replay): Promise<void> {
    for (const { database, lanes } of steps) {
      await Promise.all(
        lanes.map(async (transactions) => {
          for (const puts of transactions) await this.#transact(database, puts);
        }),
      );
    }
  }

  /** Gets the values in one read transaction; returns their bytes. */
  get(keys: readonly Uint8Array[]): number {
    const transaction = this.#store.useReadTransaction();
    const options = { transaction };
    const { states } = this.#databases;
    let bytes = 0;
    for (let i = 0; i < keys.length; i++) bytes += states.getBinaryFast(keys[i]!, options)?.length ?? 0;
    transaction.done();
    return bytes;
  }

  async close(): Promise<void> {
    await this.#log.close();
    await this.#store.close();
  }

  async #transact(name: 'log' | 'states' | 'watermarks', puts: readonly Put[]): Promise<void> {
    const database = this.#databases[name];
    const write = (): void => {
      for (const { key, bytes } of puts) {
        if (bytes === null) database.remove(key);
        else database.put(key, this.#value(bytes));
      }
    };
    await (name === 'log' ? this.#log.batch(write) : this.#store.transaction(write));
  }

  #value(bytes: number): Uint8Array {
    if (bytes > this.#filler.length) this.#filler = new Uint8Array(2 * bytes).fill(0xa5);
    return this.#filler.subarray(0, bytes);
  }
}

/** What the store is asked for while `read` runs, reduced to what it found. */
export async function presentKeys(
  store: TileStore,
  read: () => Promise<unknown>,
): Promise<PresentKeys & { asked: number }> {
  const keys: Uint8Array[] = [];
  let bytes = 0;
  let asked = 0;
  const original = store.read;
  store.read = async (requests) => {
    const states = await original.call(store, requests);
    requests.forEach((request, r) => {
      const { address } = request;
      const fields = fieldsOf(request);
      const { head, fields: values } = states[r]!;
      asked += 1 + (head === null ? 0 : fields.length);
      if (head === null) return;
      keys.push(stateKey(address));
      bytes += TOKEN_BYTES + head.length;
      fields.forEach((field, f) => {
        const value = values[f]!;
        if (value === null) return;
        keys.push(fieldKey(address, field));
        bytes += value.length;
      });
    });
    return states;
  };
  try {
    await read();
  } finally {
    store.read = original;
  }
  return { keys, bytes, asked };
}

function putsOfState({ address, next, changes }: CompareAndSet): Put[] {
  const puts: Put[] = [
    { key: stateKey(address), bytes: next === null ? null : TOKEN_BYTES + next.head.length },
  ];
  for (const [field, value] of changes) {
    puts.push({ key: fieldKey(address, field), bytes: value === null ? null : value.length });
  }
  return puts;
}

function putsOfAppend(call: RecordedCall & { kind: 'append' }): Put[] {
  return call.records.map(({ partition, stamp, value }, i) => ({
    key: offsetKey(partitionKey(call.source, partition), call.offsets[i]!),
    bytes: RECORD_HEADER_BYTES + (stamp?.length ?? 0) + value.length,
  }));
}

function putOfWatermark({ shard, name }: MoveWatermark): Put {
  return { key: watermarkKey(shard, name), bytes: WATERMARK_BYTES };
}

function sumBytes(puts: readonly Put[]): number {
  return puts.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
}
