/** What has to be ended: servers, processes, connections, directories. Last in, first out; also on Ctrl-C. */
export class Scope {
  readonly #closers: (() => Promise<unknown>)[] = [];
  #closing: Promise<void> | undefined;

  /** `close` runs when the scope ends. Ends at once what was started while the scope was ending. */
  defer(close: () => Promise<unknown>): void {
    if (this.#closing === undefined) this.#closers.push(close);
    else void close().catch(() => {});
  }

  /** Runs the work with a scope of its own, which ends with it or with this one. */
  async run<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
    const inner = new Scope();
    this.defer(() => inner.close());
    try {
      return await work(inner);
    } finally {
      await inner.close();
    }
  }

  /** Runs all closers, whatever some of them throw. Idempotent. @throws what the first of them threw */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const errors: unknown[] = [];
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

const INTERRUPTED = 130;

/** For commands: what was started is ended at the end, on a failure and on Ctrl-C. */
export async function runInScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = new Scope();
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error(`\n${signal}: ending what was started …`);
      interrupted = true;
      // What was under way fails in places that nobody awaits any more.
      process.on('unhandledRejection', () => {});
      void scope
        .close()
        .catch(() => {})
        .then(() => process.exit(INTERRUPTED));
    });
  }
  try {
    return await work(scope);
  } catch (error) {
    // What was ended fails wherever it was used.
    if (interrupted) await new Promise(() => {});
    throw error;
  } finally {
    await scope.close();
  }
}
