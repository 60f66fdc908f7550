/**
 * The time that closing may take, shared by what is closed one after the other: each step may go on until a share of it
 * has passed since the beginning, so that steps that hang one after the other do not add up.
 */
export class CloseDeadline {
  readonly #withinMs: number;
  readonly #beganMs: number;

  constructor(withinMs: number) {
    this.#withinMs = withinMs;
    this.#beganMs = performance.now();
  }

  /**
   * Resolves when the promise settles either way, or when this share of the time has passed; the promise then goes on
   * unobserved. @returns whether it has settled
   */
  settled(share: number, promise: Promise<unknown> | undefined): Promise<boolean> {
    if (promise === undefined) return Promise.resolve(true);
    const leftMs = Math.max(0, this.#beganMs + share * this.#withinMs - performance.now());
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), leftMs);
      const settled = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      promise.then(settled, settled);
    });
  }
}
