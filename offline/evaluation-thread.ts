/** The threads that evaluate batches: what they are told and answer, and what runs in one. */
import { parentPort, workerData } from 'node:worker_threads';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { AsOfBatch, EvaluatedRows } from './as-of-batch.ts';
import { ColumnNotFetchedError } from './fetched-row.ts';
import { type OnDemandBatch, OnDemandEvaluator, type OnDemandRows } from './on-demand-evaluator.ts';
import { ViewEvaluator } from './view-evaluator.ts';

/** How to start such a thread. */
export interface EvaluationThreadModule {
  /** A module that calls `evaluateInThread` with the same repo. */
  readonly url: URL;
  /** For the module, as `data` of what `evaluateInThread` is given. */
  readonly data: unknown;
}

/** What is evaluated from here on. */
export type EvaluationTask =
  | {
      readonly kind: 'view';
      readonly view: string;
      /** What is loaded here must be the same definition. */
      readonly namespace: string;
      readonly features: readonly string[];
      readonly fetched: readonly string[];
    }
  | { readonly kind: 'on_demand'; readonly service: string };

export type EvaluationBatch = AsOfBatch | OnDemandBatch;
export type EvaluationRows = EvaluatedRows | OnDemandRows;

export type ThreadRequest =
  | { readonly begin: EvaluationTask }
  | { readonly batch: EvaluationBatch; readonly number: number };

export type ThreadReply =
  | 'ready'
  | { readonly number: number; readonly rows: EvaluationRows }
  | { readonly number: number; readonly missing: string }
  | { readonly failed: string };

export interface Evaluator {
  evaluate(batch: EvaluationBatch): EvaluationRows;
}

export function evaluatorOf(repo: CompiledRepo, task: EvaluationTask): Evaluator {
  if (task.kind === 'on_demand') {
    const evaluator = new OnDemandEvaluator(repo.services.get(task.service)!);
    return { evaluate: (batch) => evaluator.evaluate(batch as OnDemandBatch) };
  }
  const view = repo.views.get(task.view);
  if (view?.namespace !== task.namespace)
    throw new Error(`the definition of the view '${task.view}' was changed meanwhile`);
  const features = view.features.filter(({ name }) => task.features.includes(name));
  const evaluator = new ViewEvaluator(view, features, task.fetched);
  return { evaluate: (batch) => evaluator.evaluate(batch as AsOfBatch) };
}

/** Buffers of the arrays of numbers in a batch or in its values, so that they are handed over and not copied. */
export function buffersOf(batch: EvaluationBatch | EvaluationRows): ArrayBuffer[] {
  const arrays = Object.values(batch).flatMap((value: unknown) =>
    Array.isArray(value) ? (value as unknown[]) : [value],
  );
  return arrays.filter((array) => ArrayBuffer.isView(array)).map((array) => array.buffer as ArrayBuffer);
}

/** Runs until the thread is ended. @param load the repo from the module's data */
export async function evaluateInThread(load: (data: unknown) => Promise<CompiledRepo>): Promise<void> {
  const port = parentPort!;
  const say = (reply: ThreadReply, transfer: ArrayBuffer[] = []): void => port.postMessage(reply, transfer);
  const repo = await load(workerData);
  let evaluator: Evaluator | null = null;
  port.on('message', (request: ThreadRequest) => {
    try {
      if ('begin' in request) {
        evaluator = evaluatorOf(repo, request.begin);
        return;
      }
      const rows = evaluator!.evaluate(request.batch);
      say({ number: request.number, rows }, buffersOf(rows));
    } catch (error) {
      if (error instanceof ColumnNotFetchedError && 'number' in request) {
        say({ number: request.number, missing: error.column });
      } else say({ failed: error instanceof Error ? error.message : String(error) });
    }
  });
  say('ready');
}
