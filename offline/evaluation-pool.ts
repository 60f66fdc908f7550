/** Evaluates batches in several threads, this one among them; a few batches are under way at a time. */
import { Worker } from 'node:worker_threads';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { AsOfBatch, EvaluatedRows } from './as-of-batch.ts';
import {
  buffersOf,
  type EvaluationBatch,
  type EvaluationRows,
  type EvaluationTask,
  type EvaluationThreadModule,
  type Evaluator,
  evaluatorOf,
  type ThreadReply,
  type ThreadRequest,
} from './evaluation-thread.ts';
import { ColumnNotFetchedError } from './fetched-row.ts';
import type { OnDemandBatch, OnDemandRows } from './on-demand-evaluator.ts';

export interface EvaluationPool {
  /** How many batches may be under way. */
  readonly inFlightMax: number;
  /** All threads are there; rejects where one cannot be started. Until then there are fewer. */
  readonly ready: Promise<void>;
  /** What the batches from here on are of. */
  begin(task: EvaluationTask): void;
  /**
   * Values of a view's batch. They come in the order of its stream.
   * @throws ColumnNotFetchedError where the definition needs a further column; Error where a thread has failed
   */
  view(batch: AsOfBatch): Promise<EvaluatedRows>;
  onDemand(batch: OnDemandBatch): Promise<OnDemandRows>;
  close(): Promise<void>;
}

/** Several batches at a time; `done` is told of them in their order. */
export async function inOrder<B, R>(
  { inFlightMax }: Pick<EvaluationPool, 'inFlightMax'>,
  batches: AsyncIterable<B>,
  evaluate: (batch: B) => Promise<R>,
  done: (rows: R) => Promise<void>,
): Promise<void> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const batch of batches) {
      const rows = evaluate(batch);
      // Who waits for it hears of a failure; until then it is nobody's.
      rows.catch(() => {});
      underWay.push(rows);
      if (underWay.length >= inFlightMax) await done(await underWay.shift()!);
    }
    while (underWay.length > 0) await done(await underWay.shift()!);
  } finally {
    await Promise.allSettled(underWay);
  }
}

/** Batches that wait in a thread, so that it does not wait for the next one. */
const WAITING_MAX = 2;

/**
 * This thread has the rows to hand over: it evaluates what the others have no room for, and all until they are there, which
 * takes half a second.
 * @param threads this one among them, 1 ≤ threads
 * @param module how to start others. @default the values are found in this thread
 */
export function evaluationPool(
  repo: CompiledRepo,
  threads: number,
  module?: EvaluationThreadModule,
): EvaluationPool {
  const here = new EvaluationHere(repo);
  const others =
    module === undefined
      ? []
      : Array.from(
          { length: threads - 1 },
          () => new EvaluationThread(new Worker(module.url, { workerData: module.data })),
        );
  const ready = Promise.all(others.map((thread) => thread.ready)).then(() => {});
  // Whoever hands over a batch hears of a failure.
  ready.catch(() => {});
  const withRoom = (): EvaluatingThread =>
    others.reduce<EvaluatingThread>(
      (least, thread) => (thread.waiting < (least === here ? WAITING_MAX : least.waiting) ? thread : least),
      here,
    );
  const checkThreads = (): void => {
    for (const { failure } of others) if (failure !== null) throw failure;
  };
  let last: { thread: EvaluatingThread; key: number } | null = null;
  return {
    inFlightMax: others.length * WAITING_MAX + 1,
    ready,
    begin(task) {
      last = null;
      for (const thread of [here, ...others]) thread.begin(task);
    },
    async view(batch) {
      checkThreads();
      // The rest of a key goes where its history is.
      const continued = last !== null && batch.keys[0] === last.key;
      const thread = continued ? last!.thread : withRoom();
      last = { thread, key: batch.keys[batch.rows - 1]! };
      return thread.evaluate(batch) as Promise<EvaluatedRows>;
    },
    async onDemand(batch) {
      checkThreads();
      return withRoom().evaluate(batch) as Promise<OnDemandRows>;
    },
    async close() {
      await Promise.all(others.map((thread) => thread.close()));
    },
  };
}

interface Call {
  resolve(rows: EvaluationRows): void;
  reject(error: Error): void;
}

interface EvaluatingThread {
  /** Batches it has not answered; infinite: it takes none yet. */
  readonly waiting: number;
  begin(task: EvaluationTask): void;
  evaluate(batch: EvaluationBatch): Promise<EvaluationRows>;
}

/** This one: at once, and meanwhile nothing else. */
class EvaluationHere implements EvaluatingThread {
  readonly waiting = 0;
  readonly #repo: CompiledRepo;
  #task: EvaluationTask | null = null;
  #evaluator: Evaluator | null = null;

  constructor(repo: CompiledRepo) {
    this.#repo = repo;
  }

  begin(task: EvaluationTask): void {
    this.#task = task;
    this.#evaluator = null;
  }

  async evaluate(batch: EvaluationBatch): Promise<EvaluationRows> {
    this.#evaluator ??= evaluatorOf(this.#repo, this.#task!);
    return this.#evaluator.evaluate(batch);
  }
}

class EvaluationThread implements EvaluatingThread {
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  #last = 0;
  #isReady = false;
  #failure: Error | null = null;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.ready = new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        this.#failure ??= error;
        reject(error);
        for (const call of this.#calls.values()) call.reject(error);
        this.#calls.clear();
      };
      worker.on('message', (reply: ThreadReply) => {
        if (reply === 'ready') {
          this.#isReady = true;
          resolve();
        } else if ('failed' in reply) fail(new Error(reply.failed));
        else {
          const call = this.#calls.get(reply.number)!;
          this.#calls.delete(reply.number);
          if ('rows' in reply) call.resolve(reply.rows);
          else call.reject(new ColumnNotFetchedError(reply.missing));
        }
      });
      worker.on('error', (error) => fail(error as Error));
      worker.on('exit', (code) => fail(new Error(`a thread that evaluates has ended (${code})`)));
    });
    // Who waits for a batch is told.
    this.ready.catch(() => {});
  }

  get waiting(): number {
    return this.#isReady ? this.#calls.size : Number.POSITIVE_INFINITY;
  }

  get failure(): Error | null {
    return this.#failure;
  }

  begin(task: EvaluationTask): void {
    this.#worker.postMessage({ begin: task } satisfies ThreadRequest);
  }

  evaluate(batch: EvaluationBatch): Promise<EvaluationRows> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      const number = ++this.#last;
      this.#calls.set(number, { resolve, reject });
      this.#worker.postMessage({ batch, number } satisfies ThreadRequest, buffersOf(batch));
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
