/** A request many ask for at the same time. */

/**
 * Runs `request` one at a time. A caller gets the answer of a run that *started after* the call, never of one that
 * was under way: what it did just before is in the answer. All who call during a run share the next one.
 */
export class SharedRequest<T> {
  readonly #request: () => Promise<T>;
  #running: Promise<T> | null = null;
  #next: Promise<T> | null = null;

  constructor(request: () => Promise<T>) {
    this.#request = request;
  }

  get(): Promise<T> {
    if (this.#next !== null) return this.#next;
    if (this.#running === null) return this.#start();
    this.#next = this.#running
      .then(
        () => {},
        () => {},
      )
      .then(() => {
        this.#next = null;
        return this.#start();
      });
    return this.#next;
  }

  #start(): Promise<T> {
    const run = this.#request().finally(() => {
      if (this.#running === run) this.#running = null;
    });
    this.#running = run;
    return run;
  }
}
