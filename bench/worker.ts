/** A process of the benchmark's own that takes one order at a time over IPC, and ends with the benchmark. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a worker answers where an order failed. */
export interface Failed {
  readonly kind: 'failed';
  readonly message: string;
}

export class Worker<Order extends object, Answer extends { readonly kind: string }> {
  readonly #process: ChildProcess;

  /** @param flags of node; what is compared with an engine's process has those of it */
  constructor(module: URL, flags: readonly string[] = []) {
    this.#process = fork(fileURLToPath(module), {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      execArgv: [...flags, '--conditions=source', '--import', 'tsx'],
    });
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** One order at a time. @throws what went wrong in the worker, or that it has ended */
  order<Kind extends Answer['kind']>(
    order: Order,
    expected: Kind,
  ): Promise<Extract<Answer, { readonly kind: Kind }>> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`a worker process ended with ${code}`));
      if (!this.#process.connected) return ended(this.#process.exitCode);
      this.#process.once('exit', ended);
      this.#process.once('message', (answer: Answer | Failed) => {
        this.#process.off('exit', ended);
        if (answer.kind === expected) resolve(answer as Extract<Answer, { readonly kind: Kind }>);
        else reject(new Error('message' in answer ? answer.message : `the worker answered ${answer.kind}`));
      });
      this.#process.send(order);
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.connected) this.#process.disconnect();
    await exited;
  }
}

/** In the worker: obeys orders until the benchmark has ended. */
export function obeyOrders<Order, Answer extends { readonly kind: string }>(
  obey: (order: Order) => Promise<Answer>,
): void {
  process.on('message', (order: Order) => {
    obey(order).then(
      (answer) => process.send!(answer),
      (error: unknown) => process.send!({ kind: 'failed', message: String(error) } satisfies Failed),
    );
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole terminal; the benchmark ends its workers itself.
  process.on('SIGINT', () => {});
}
