/** A worker of `--workers`, as seen from itself. */
import cluster from 'node:cluster';
import type { Metrics } from '../serve/metrics.ts';
import type { Announcer } from './run-engine.ts';
import type { PrimaryMessage, WorkerMessage } from './worker-messages.ts';

/** Whether this process is one of several workers. */
export const isWorker = (): boolean => cluster.isWorker;

/** The first worker says what there is to say of all. */
export function workerAnnouncer(): Announcer {
  const isFirst = cluster.worker!.id === 1;
  return {
    print: (text) => {
      if (isFirst) process.stdout.write(`${text}\n`);
    },
    ready: () => send({ type: 'millrace:ready' }),
  };
}

/** From now on whoever asks this worker for metrics gets those of all workers. */
export function shareMetrics(metrics: Metrics): void {
  const asked = new Map<number, { resolve: (text: string) => void; reject: (error: Error) => void }>();
  let request = 0;
  metrics.answerForAllWorkers(
    () =>
      new Promise((resolve, reject) => {
        asked.set(++request, { resolve, reject });
        send({ type: 'millrace:ask-metrics', request });
      }),
  );
  process.on('message', (message: PrimaryMessage) => {
    if (message.type === 'millrace:tell-own-metrics') {
      metrics.own().then(
        (own) => send({ type: 'millrace:own-metrics', request: message.request, metrics: own }),
        (error: Error) =>
          send({ type: 'millrace:own-metrics', request: message.request, metrics: error.message }),
      );
    } else if (message.type === 'millrace:metrics') {
      const asker = asked.get(message.request);
      asked.delete(message.request);
      if (message.ok) asker?.resolve(message.text);
      else asker?.reject(new Error(message.text));
    }
  });
}

function send(message: WorkerMessage): void {
  // Where the first process is gone, this one is about to end.
  if (process.connected) process.send!(message, undefined, undefined, () => {});
}
