/** The threads that evaluate batches: what they are told and answer, and what runs in one. */
import { parentPort, workerData } from 'node:worker_threads';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { AsOfBatch, EvaluatedRows } from './as-of-batch.ts';
import { ColumnNotFetchedError, ViewEvaluator } from './view-evaluator.ts';

/** How to start such a thread. */
export interface EvaluationThreadModule {
  /** A module that calls `evaluateInThread` with the same repo. */
  readonly url: URL;
  /** For the module, as `data` of what `evaluateInThread` is given. */
  readonly data: unknown;
}

/** A view to evaluate from here on. */
export interface ViewTask {
  readonly view: string;
  /** What is loaded here must be the same definition. */
  readonly namespace: string;
  readonly features: readonly string[];
  readonly fetched: readonly string[];
}

export type ThreadRequest =
  | { readonly begin: ViewTask }
  | { readonly batch: AsOfBatch; readonly number: number };

export type ThreadReply =
  | 'ready'
  | { readonly number: number; readonly rows: EvaluatedRows }
  | { readonly number: number; readonly missing: string }
  | { readonly failed: string };

export function evaluatorOf(
  repo: CompiledRepo,
  { view: name, namespace, features, fetched }: ViewTask,
): ViewEvaluator {
  const view = repo.views.get(name);
  if (view?.namespace !== namespace)
    throw new Error(`the definition of the view '${name}' was changed meanwhile`);
  const chosen = view.features.filter((feature) => features.includes(feature.name));
  return new ViewEvaluator(view, chosen, fetched);
}

/** The buffers of arrays of numbers, so that they are handed over and not copied. */
export function buffersOf(arrays: readonly unknown[]): ArrayBuffer[] {
  return arrays.filter((array) => ArrayBuffer.isView(array)).map((array) => array.buffer as ArrayBuffer);
}

/** Runs until the thread is ended. @param load the repo from the module's data */
export async function evaluateInThread(load: (data: unknown) => Promise<CompiledRepo>): Promise<void> {
  const port = parentPort!;
  const say = (reply: ThreadReply, transfer: ArrayBuffer[] = []): void => port.postMessage(reply, transfer);
  const repo = await load(workerData);
  let evaluator: ViewEvaluator | null = null;
  port.on('message', (request: ThreadRequest) => {
    try {
      if ('begin' in request) {
        evaluator = evaluatorOf(repo, request.begin);
        return;
      }
      const { batch, number } = request;
      const rows = evaluator!.evaluate(batch);
      say({ number, rows }, buffersOf([rows.keys, rows.places, ...rows.columns]));
    } catch (error) {
      if (error instanceof ColumnNotFetchedError)
        say({ number: (request as { number: number }).number, missing: error.column });
      else say({ failed: error instanceof Error ? error.message : String(error) });
    }
  });
  say('ready');
}
