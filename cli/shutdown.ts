/** SIGINT and SIGTERM: the first asks to stop, a second one stops at once. */

/** Two signals this close are one: Ctrl-C reaches the process from the terminal and again through npm. */
const SAME_SIGNAL_MS = 250;

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export interface Shutdown {
  /** Aborted by the first signal; the reason is the signal's name. */
  readonly signal: AbortSignal;
  /** No more signals are taken. */
  dispose(): void;
}

export function shutdownOnSignals(onFirst: (signal: string) => void): Shutdown {
  const controller = new AbortController();
  let firstMs = 0;
  const handle = (name: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (!controller.signal.aborted) {
      firstMs = nowMs;
      onFirst(name);
      controller.abort(name);
    } else if (nowMs - firstMs > SAME_SIGNAL_MS) {
      process.exit(EXIT_CODES[name as keyof typeof EXIT_CODES]);
    }
  };
  process.on('SIGINT', handle).on('SIGTERM', handle);
  return {
    signal: controller.signal,
    dispose() {
      process.off('SIGINT', handle).off('SIGTERM', handle);
    },
  };
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
