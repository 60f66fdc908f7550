/**
 * `--workers N`: N processes that serve on one port. The first process only starts them, hands connections to them in
 * turns, and starts another where one has ended; it ends when they have.
 *
 * The first worker is started alone, so that what cannot work is said once.
 */
import cluster, { type Worker } from 'node:cluster';
import { pino } from 'pino';
import { textOfWorkers, type WorkerMetrics } from '../serve/metrics.ts';
import type { Config } from './settings.ts';
import { shutdownOnSignals } from './shutdown.ts';
import type { PrimaryMessage, WorkerMessage } from './worker-messages.ts';

/** A worker that ended is replaced after this, then twice that, and so on: what fails may go on failing. */
const REPLACE_AFTER_MS = 500;
const REPLACE_AFTER_MS_MAX = 30_000;
/** How long workers may take to tell their metrics: none is given where one does not, as sums would seem to fall. */
const METRICS_TIMEOUT_MS = 3_000;

/** Resolves with the exit code when all workers have ended. */
export function serveWorkers(config: Config): Promise<number> {
  return new Workers(config).run();
}

interface Gathering {
  readonly asker: Worker;
  readonly askersRequest: number;
  readonly waitingFor: Set<number>;
  readonly metrics: WorkerMetrics[];
  readonly timer: NodeJS.Timeout;
}

class Workers {
  readonly #count: number;
  readonly #logger: pino.Logger;
  readonly #ready = new Set<number>();
  readonly #gatherings = new Map<number, Gathering>();
  readonly #replacements = new Set<NodeJS.Timeout>();
  #request = 0;
  /** Ends since the last worker that became ready. */
  #failures = 0;
  #wasReady = false;
  #stopping = false;
  #exitCode = 0;

  constructor(config: Config) {
    this.#count = config.workers;
    this.#logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }));
  }

  async run(): Promise<number> {
    cluster.setupPrimary({ exec: process.argv[1]!, args: process.argv.slice(2) });
    const ended = new Promise<void>((resolve) => {
      cluster.on('exit', (worker, code, signal) => {
        this.#onExit(worker, code, signal);
        if (this.#stopping && alive().length === 0) resolve();
      });
    });
    cluster.on('message', (worker, message: WorkerMessage) => this.#onMessage(worker, message));
    // Also where a second signal ends this process at once.
    const killAll = (): void => {
      for (const worker of alive()) worker.process.kill('SIGKILL');
    };
    process.on('exit', killAll);
    // The first worker says that it drains.
    const shutdown = shutdownOnSignals(() => this.#stop(0));
    cluster.fork();
    await ended;
    shutdown.dispose();
    process.off('exit', killAll);
    if (this.#exitCode === 0) process.stdout.write('Stopped.\n');
    return this.#exitCode;
  }

  #onMessage(worker: Worker, message: WorkerMessage): void {
    switch (message.type) {
      case 'millrace:ready':
        this.#onReady(worker);
        return;
      case 'millrace:ask-metrics':
        this.#gather(worker, message.request);
        return;
      case 'millrace:own-metrics': {
        const gathering = this.#gatherings.get(message.request);
        if (gathering?.waitingFor.delete(worker.id) !== true) return;
        if (typeof message.metrics === 'string') this.#answer(message.request, message.metrics);
        else {
          gathering.metrics.push(message.metrics);
          if (gathering.waitingFor.size === 0) this.#answer(message.request, null);
        }
      }
    }
  }

  #onReady(worker: Worker): void {
    this.#ready.add(worker.id);
    this.#failures = 0;
    if (this.#stopping) return;
    if (!this.#wasReady && this.#ready.size === 1) {
      for (let n = alive().length; n < this.#count; n++) cluster.fork();
    }
    if (!this.#wasReady && this.#ready.size === this.#count) {
      this.#wasReady = true;
      process.stdout.write(`\nReady. ${this.#count} workers; Ctrl-C stops.\n`);
    }
  }

  #onExit(worker: Worker, code: number | null, signal: string | null): void {
    const wasReady = this.#ready.delete(worker.id);
    for (const [request, { asker, waitingFor }] of this.#gatherings) {
      if (asker === worker) this.#forget(request);
      else if (waitingFor.has(worker.id)) this.#answer(request, 'a worker has ended meanwhile');
    }
    if (this.#stopping) {
      // One that has only just begun dies of the signal.
      if (code !== 0 && signal !== 'SIGTERM') this.#exitCode ||= code ?? 1;
      return;
    }
    // Where nobody is left who could answer, whoever supervises this process has to know.
    if (this.#ready.size === 0) {
      this.#stop(code === 0 ? 0 : (code ?? 1));
      return;
    }
    const afterMs = Math.min(REPLACE_AFTER_MS_MAX, REPLACE_AFTER_MS * 2 ** this.#failures++);
    this.#logger.warn(
      { workerPid: worker.process.pid, code, signal, wasReady, afterMs },
      'a worker ended; another takes its place',
    );
    const timer = setTimeout(() => {
      this.#replacements.delete(timer);
      cluster.fork();
    }, afterMs);
    this.#replacements.add(timer);
  }

  #stop(exitCode: number): void {
    this.#stopping = true;
    this.#exitCode = exitCode;
    for (const timer of this.#replacements) clearTimeout(timer);
    // In a terminal they have the signal already; two that are close together count as one.
    for (const worker of alive()) worker.process.kill('SIGTERM');
  }

  #gather(asker: Worker, askersRequest: number): void {
    const request = ++this.#request;
    const asked = alive().filter((worker) => this.#ready.has(worker.id) || worker === asker);
    this.#gatherings.set(request, {
      asker,
      askersRequest,
      waitingFor: new Set(asked.map(({ id }) => id)),
      metrics: [],
      timer: setTimeout(() => this.#answer(request, 'a worker did not answer in time'), METRICS_TIMEOUT_MS),
    });
    for (const worker of asked) send(worker, { type: 'millrace:tell-own-metrics', request });
  }

  /** @param problem null: all have told their metrics */
  #answer(request: number, problem: string | null): void {
    const gathering = this.#forget(request);
    if (gathering === undefined) return;
    const { asker, askersRequest, metrics } = gathering;
    const answer = (ok: boolean, text: string): void =>
      send(asker, { type: 'millrace:metrics', request: askersRequest, text, ok });
    if (problem !== null) {
      answer(false, problem);
      return;
    }
    textOfWorkers(metrics).then(
      (text) => answer(true, text),
      (error: Error) => answer(false, error.message),
    );
  }

  #forget(request: number): Gathering | undefined {
    const gathering = this.#gatherings.get(request);
    clearTimeout(gathering?.timer);
    this.#gatherings.delete(request);
    return gathering;
  }
}

/** Workers that have not ended. */
function alive(): Worker[] {
  return Object.values(cluster.workers ?? {}).filter(
    (worker): worker is Worker => worker !== undefined && !worker.isDead(),
  );
}

function send(worker: Worker, message: PrimaryMessage): void {
  // One that ends meanwhile needs no answer.
  if (worker.isConnected()) worker.send(message, () => {});
}
