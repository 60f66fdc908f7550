/** What the thread of write-thread.ts does: rows come in, and are written to the store that the engine has open. */
import { parentPort, workerData } from 'node:worker_threads';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import { LmdbTileStore } from '../engine/store/lmdb-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { ViewWriter } from '../ingest/view-writer.ts';
import {
  DefinitionsChangedError,
  type WriteThreadData,
  type WriteThreadReply,
  type WriteThreadRequest,
} from './write-thread.ts';

/**
 * Writes until the engine closes. To be called once, in the thread.
 * @param load the repo that the engine has, from what it gave as `data`
 */
export async function writeRows(load: (data: unknown) => Promise<CompiledRepo>): Promise<void> {
  const { data, storePath, namespaces } = workerData as WriteThreadData;
  const port = parentPort!;
  const repo = await load(data);
  for (const [name, namespace] of namespaces) {
    if (repo.views.get(name)?.namespace === namespace) continue;
    throw new DefinitionsChangedError(
      `the definitions have changed while they were being loaded: view ${name} is another one in the thread that ` +
        'writes tiles; start again',
    );
  }
  const store = LmdbTileStore.share(storePath);
  const newToken = randomTokens();
  const bound = new Map<string, CompiledView>();
  const running = new Set<Promise<void>>();

  const viewIn = (name: string, namespace: string): CompiledView => {
    let view = bound.get(namespace);
    if (view === undefined) {
      view = { ...repo.views.get(name)!, namespace };
      bound.set(namespace, view);
    }
    return view;
  };
  const answer = async (request: Exclude<WriteThreadRequest, 'close'>): Promise<void> => {
    const { call, view, namespace, nowMs, shape, pacing, shards, rows } = request;
    const reply = (said: WriteThreadReply): void => port.postMessage(said);
    try {
      const clock = { nowMs: () => nowMs };
      const writing = { store, clock, shards, shape, pacing, rules: PROTOCOL, newToken };
      reply({ call, counts: await new ViewWriter(viewIn(view, namespace), writing).apply(new Map(rows)) });
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      reply({ call, error: { name, message } });
    }
  };
  port.on('message', (request: WriteThreadRequest) => {
    if (request === 'close') {
      void Promise.all(running)
        .then(() => store.close())
        // Ends this thread only, also where the definitions keep something open.
        .then(() => process.exit(0));
      return;
    }
    const work = answer(request).finally(() => running.delete(work));
    running.add(work);
  });
  port.postMessage('ready' satisfies WriteThreadReply);
}
