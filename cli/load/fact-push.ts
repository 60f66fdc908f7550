/** Facts pushed to a running server, a stretch after the other: behind each it is known what became of it. */
import { setTimeout as delay } from 'node:timers/promises';
import { toJsonValue } from '../../engine/definitions/to-json-value.ts';
import type { EventRow } from '../../engine/definitions/types.ts';
import type { HttpClient } from '../http-client.ts';
import { EventSender, type SendTotals } from '../replay/event-sender.ts';
import type { ReplayEvent } from '../replay/read-events.ts';

/** Facts after which it is written down how far a load is. */
const STRETCH_FACTS = 5_000;
const BATCH_BYTES = 1024 * 1024;
const RETRY_FOR_MS = 60_000;

export interface FactPushOptions {
  readonly client: HttpClient;
  readonly source: string;
  /** Facts per request. */
  readonly batch: number;
  /** Requests at a time. */
  readonly inFlight: number;
  /** Aborted: nothing further is sent, and what is on its way is waited for. */
  readonly signal: AbortSignal;
}

export class FactPush {
  readonly #options: FactPushOptions;
  readonly #sender: EventSender;
  /** Of the stretch that is under way, from 1. */
  #refused: number[] = [];

  constructor(options: FactPushOptions) {
    this.#options = options;
    this.#sender = new EventSender({
      ...{ client: options.client, source: options.source, hasEventId: true, maxInFlight: options.inFlight },
      ...{ retryForMs: RETRY_FOR_MS, nowMs: () => performance.now(), place: 'fact' },
      sleep: (durationMs) => delay(durationMs),
      onRejected: (fact) => this.#refused.push(fact),
    });
  }

  get totals(): SendTotals {
    return this.#sender.totals;
  }

  /**
   * @param done so many were answered for before
   * @param onStretch told how many are answered for by now, and which of the last ones were refused, from 0
   * @returns whether all were sent; false: it was stopped
   */
  async push(
    facts: AsyncIterable<readonly EventRow[]>,
    done: number,
    onStretch: (done: number, refused: readonly number[]) => void,
  ): Promise<boolean> {
    const { batch: batchFacts, signal } = this.#options;
    let batch: ReplayEvent[] = [];
    let batchBytes = 0;
    let read = done;
    let answered = done;
    const send = async (): Promise<void> => {
      if (batch.length === 0) return;
      const full = batch;
      batch = [];
      batchBytes = 0;
      await this.#sender.send(full);
    };
    const settle = async (): Promise<void> => {
      await send();
      await this.#sender.finish();
      if (read === answered) return;
      answered = read;
      const refused = this.#refused.map((fact) => fact - 1).sort((a, b) => a - b);
      this.#refused = [];
      onStretch(answered, refused);
    };
    try {
      for await (const rows of facts) {
        for (const row of rows) {
          if (signal.aborted) {
            await settle();
            return false;
          }
          const json = JSON.stringify(toJsonValue(row));
          batch.push({ ok: true, line: ++read, eventTimeMs: 0, json });
          batchBytes += json.length;
          if (batch.length >= batchFacts || batchBytes >= BATCH_BYTES) await send();
          if (read - answered >= STRETCH_FACTS) await settle();
        }
      }
      await settle();
      return true;
    } finally {
      await this.#sender.settle();
    }
  }
}
