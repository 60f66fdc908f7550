/**
 * A second thread of an embedded engine, in which the tiles of accepted events are made and written, so that requests do
 * not wait for that: some 200 µs an event, as much as the answer to a request takes.
 *
 * Both threads have the store open, which is one lmdb environment of the process. What is written in one of them the other
 * reads at its next snapshot, which for this thread begins with each reply: a record that counts as applied is seen.
 * Compaction writes in this thread; compare-and-set keeps the two from each other's states as it does processes.
 *
 * The thread has no queue of its own: a partition writes one chunk at a time.
 */
import { Worker } from 'node:worker_threads';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LmdbTileStore } from '../engine/store/lmdb-tile-store.ts';
import { StoreClosedError, StoreFullError, StoreUnavailableError } from '../engine/store/store-errors.ts';
import type { CompactionPacing, IncomingRow } from '../engine/tiles/state-update.ts';
import type { TileShape } from '../engine/tiles/tile-shape.ts';
import type { RowWriter, StateWriting, WriteCounts } from '../ingest/view-writer.ts';

/** How to start the thread. */
export interface WriteThreadModule {
  /** A module that calls `writeRows` with the repo that the engine has. */
  readonly url: URL;
  /** For the module, as `data` of what `writeRows` is given. */
  readonly data: unknown;
}

/** What the thread is started with, its `workerData`. */
export interface WriteThreadData {
  readonly data: unknown;
  readonly storePath: string;
  /** Of every view: what the engine has and the thread loads again must be the same. */
  readonly namespaces: readonly (readonly [view: string, namespace: string])[];
}

/** To the thread. */
export type WriteThreadRequest =
  | {
      readonly call: number;
      readonly view: string;
      readonly namespace: string;
      readonly shape: TileShape;
      readonly pacing: CompactionPacing;
      readonly shards: number;
      /** By the engine's clock, which may follow the events. */
      readonly nowMs: number;
      readonly rows: readonly (readonly [key: string, rows: readonly IncomingRow[]])[];
    }
  | 'close';

/** From the thread. */
export type WriteThreadReply =
  | 'ready'
  | { readonly call: number; readonly counts: WriteCounts }
  | { readonly call: number; readonly error: { readonly name: string; readonly message: string } };

/** The thread has loaded other definitions than the engine: they were changed while it started. */
export class DefinitionsChangedError extends Error {
  override readonly name = 'DefinitionsChangedError';
}

/** A thread that is waited for and says nothing for so long hangs: a write takes some ms. */
const SILENT_MS_MAX = 60_000;
/** Counted in looks at it, so that a machine that was halted is not taken for a thread that hangs. */
const LOOKS = 4;

interface Call {
  resolve(counts: WriteCounts): void;
  reject(error: Error): void;
}

export class WriteThread {
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  readonly #store: Pick<LmdbTileStore, 'renewSnapshot'>;
  readonly #ready: Promise<void>;
  readonly #exited: Promise<void>;
  readonly #failed: Promise<never>;
  #last = 0;
  /** Why nothing is taken any more. */
  #ended: Error | null = null;
  #closing = false;
  #isReady = false;
  #silentLooks = 0;

  /**
   * @param views those of the engine's repo
   * @throws what the module throws; DefinitionsChangedError where it has other views; Error where it hangs
   */
  static async start(
    module: WriteThreadModule,
    store: LmdbTileStore,
    views: Iterable<CompiledView>,
  ): Promise<WriteThread> {
    const namespaces = [...views].map(({ name, namespace }) => [name, namespace] as const);
    const data: WriteThreadData = { data: module.data, storePath: store.path, namespaces };
    const thread = new WriteThread(module, store, data);
    await Promise.race([thread.#ready, thread.#failed]);
    return thread;
  }

  private constructor({ url }: WriteThreadModule, store: LmdbTileStore, data: WriteThreadData) {
    this.#store = store;
    this.#worker = new Worker(url, { workerData: data, name: 'millrace-write' });
    let ready!: () => void;
    this.#ready = new Promise((resolve) => {
      ready = resolve;
    });
    this.#failed = new Promise((_, reject) => {
      this.#worker.on('error', (error) =>
        reject(this.#end(this.#isReady ? withoutMessage(error) : ofStart(error))),
      );
      this.#worker.on('messageerror', (error) => reject(this.#end(error)));
      const looking = setInterval(() => {
        if (!this.#isSilent() || ++this.#silentLooks < LOOKS) return;
        const what = `the thread that writes tiles has said nothing for ${SILENT_MS_MAX / 1_000} s`;
        reject(
          this.#end(new Error(this.#isReady ? what : `${what}: do the definitions wait for something?`)),
        );
        void this.#worker.terminate();
      }, SILENT_MS_MAX / LOOKS);
      this.#worker.on('exit', () => clearInterval(looking));
      this.#worker.on('exit', () => {
        if (!this.#closing) reject(this.#end(new Error('the thread that writes tiles has ended')));
      });
    });
    this.#failed.catch(() => {});
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => resolve());
    });
    this.#worker.on('message', (reply: WriteThreadReply) => {
      this.#silentLooks = 0;
      if (reply === 'ready') {
        this.#isReady = true;
        ready();
      } else {
        this.#settle(reply);
      }
    });
  }

  /** Something is waited for. */
  #isSilent(): boolean {
    if (!this.#isReady || this.#calls.size > 0) return true;
    this.#silentLooks = 0;
    return false;
  }

  /** Rejects when the thread has ended although nobody wanted it to: the process should end, too. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  writerOf(view: CompiledView, { clock, shape, pacing, shards }: StateWriting): RowWriter {
    return {
      view,
      apply: (rowsByKey) =>
        new Promise((resolve, reject) => {
          if (this.#ended !== null) {
            reject(this.#ended);
            return;
          }
          const call = ++this.#last;
          const { name, namespace } = view;
          const nowMs = clock.nowMs();
          this.#send({ call, view: name, namespace, shape, pacing, shards, nowMs, rows: [...rowsByKey] });
          this.#calls.set(call, { resolve, reject });
        }),
    };
  }

  /** What is under way is finished. Idempotent. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#ended ??= new StoreClosedError('the tile store is closed');
      this.#send('close');
    }
    return this.#exited;
  }

  #send(request: WriteThreadRequest): void {
    this.#worker.postMessage(request);
  }

  #settle(reply: Exclude<WriteThreadReply, 'ready'>): void {
    const call = this.#calls.get(reply.call);
    this.#calls.delete(reply.call);
    this.#store.renewSnapshot();
    if ('counts' in reply) call?.resolve(reply.counts);
    else call?.reject(errorOf(reply.error));
  }

  /** Nothing comes back any more. */
  #end(error: Error): Error {
    this.#ended ??= error;
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    return error;
  }
}

/** An error of another thread is of the class `Error` here. */
const ofStart = (error: Error): Error =>
  error.name === DefinitionsChangedError.name ? new DefinitionsChangedError(error.message) : error;

/** What user code throws may hold what it was given: only its class is told. */
const withoutMessage = (cause: Error): Error =>
  new Error(`the thread that writes tiles has failed: ${cause.name}`, { cause });

const STORE_ERRORS = [StoreFullError, StoreUnavailableError, StoreClosedError];

function errorOf({ name, message }: { readonly name: string; readonly message: string }): Error {
  const kind = STORE_ERRORS.find((one) => one.name === name);
  if (kind !== undefined) return new kind(message);
  const error = new Error(message);
  error.name = name;
  return error;
}
