/** Feeds simulated events into the process in real time, each when its moment has come. */
import type { Simulate, SimulatedEvent } from './load-features.ts';

export interface SimulatorRun {
  /** Events handed to `push` so far. */
  readonly pushed: number;
  /** Resolves when the last push is done; no more follow. Idempotent. */
  stop(): Promise<void>;
}

export interface SimulatorOptions {
  readonly simulate: Simulate;
  readonly seed: number;
  readonly ratePerSecond: number;
  readonly nowMs: () => number;
  /** Pushes the events of one source. */
  readonly push: (source: string, events: readonly unknown[]) => Promise<unknown>;
  /** A push failed, or the simulator threw; after a throw it is over. */
  readonly onError: (error: unknown) => void;
}

/** Events due are pushed together this often: at high rates a push is not one event. */
const TICK_MS = 25;
/** After a pause (a laptop asleep, a blocked process) what was missed is left out, not pushed in a burst. */
const CATCH_UP_MS = 5_000;

export function runSimulator({
  simulate,
  seed,
  ratePerSecond,
  nowMs,
  push,
  onError,
}: SimulatorOptions): SimulatorRun {
  let pushed = 0;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let working: Promise<void> = Promise.resolve();
  const start = (): { events: Iterator<SimulatedEvent>; next: IteratorResult<SimulatedEvent> } => {
    const events = simulate({ seed, startMs: nowMs(), ratePerSecond })[Symbol.iterator]();
    return { events, next: events.next() };
  };
  let stream: ReturnType<typeof start> | null = null;

  const tick = async (): Promise<void> => {
    stream ??= start();
    const now = nowMs();
    if (stream.next.done !== true && stream.next.value.atMs < now - CATCH_UP_MS) stream = start();
    const due = new Map<string, unknown[]>();
    while (stream.next.done !== true && stream.next.value.atMs <= now) {
      const { source, data } = stream.next.value;
      const events = due.get(source);
      if (events === undefined) due.set(source, [data]);
      else events.push(data);
      stream.next = stream.events.next();
    }
    for (const [source, events] of due) {
      await push(source, events).then(() => {
        pushed += events.length;
      }, onError);
    }
  };
  const schedule = (): void => {
    timer = setTimeout(() => {
      working = tick().then(
        () => {
          if (!stopped && stream?.next.done !== true) schedule();
        },
        (error: unknown) => onError(error),
      );
    }, TICK_MS);
  };
  schedule();
  return {
    get pushed() {
      return pushed;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await working;
    },
  };
}
