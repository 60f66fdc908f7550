/**
 * Sends batches of events to a server, a bounded number at a time, and adds up what became of them.
 *
 * A refusal for now (429, 503) or a lost connection is tried again, with growing pauses, for a bounded time. A
 * batch whose connection broke may have been recorded: it is sent again only where events have ids, by which
 * the server knows them.
 */
import { CliError } from '../cli-error.ts';
import { describeReply, type HttpClient, type HttpReply, NoReplyError } from '../http-client.ts';
import type { ReplayEvent, ReplayRejection } from './read-events.ts';

export interface SendTotals {
  accepted: number;
  duplicates: number;
  rejected: number;
  /** The first few, in the order they became known. */
  readonly rejections: ReplayRejection[];
}

export interface EventSenderOptions {
  readonly client: Pick<HttpClient, 'post'>;
  readonly source: string;
  /** Whether the server recognises an event that it gets twice. */
  readonly hasEventId: boolean;
  readonly maxInFlight: number;
  /** A batch is given up after this time of refusals, ms. */
  readonly retryForMs: number;
  readonly sleep: (durationMs: number) => Promise<void>;
  readonly nowMs: () => number;
  /** Told of every event that was refused. */
  readonly onRejected?: (line: number) => void;
  /** What events are counted by. @default 'line' */
  readonly place?: 'line' | 'fact';
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
export const REJECTIONS_SHOWN = 10;

interface PushReply {
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: readonly {
    readonly index: number;
    readonly code: string;
    readonly column?: string | null;
    readonly message: string;
  }[];
}

export class EventSender {
  readonly totals: SendTotals = { accepted: 0, duplicates: 0, rejected: 0, rejections: [] };
  readonly #options: EventSenderOptions;
  readonly #path: string;
  readonly #inFlight = new Set<Promise<void>>();
  #failure: unknown = null;

  constructor(options: EventSenderOptions) {
    this.#options = options;
    this.#path = `/v1/sources/${encodeURIComponent(options.source)}/events`;
  }

  /** A row that is not even sent. */
  reject(rejection: ReplayRejection): void {
    const { totals } = this;
    totals.rejected++;
    this.#options.onRejected?.(rejection.line);
    if (totals.rejections.length < REJECTIONS_SHOWN) totals.rejections.push(rejection);
  }

  /** Starts sending; resolves when there is room for another batch. @throws what made an earlier batch fail */
  async send(batch: readonly ReplayEvent[]): Promise<void> {
    this.#throwFailure();
    const sending = this.#sendBatch(batch)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#inFlight.delete(sending));
    this.#inFlight.add(sending);
    while (this.#inFlight.size >= this.#options.maxInFlight) await Promise.race(this.#inFlight);
    this.#throwFailure();
  }

  /** Resolves when everything sent is answered. @throws what made a batch fail */
  async finish(): Promise<void> {
    await this.settle();
    this.#throwFailure();
  }

  /** Resolves when nothing is on its way any more. */
  async settle(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  async #sendBatch(batch: readonly ReplayEvent[]): Promise<void> {
    const reply = await this.#post(batch);
    if (reply.status === 413 && batch.length > 1) {
      const middle = batch.length >>> 1;
      await this.#sendBatch(batch.slice(0, middle));
      await this.#sendBatch(batch.slice(middle));
      return;
    }
    const result = reply.body as PushReply | undefined;
    if ((reply.status !== 200 && reply.status !== 422) || !Array.isArray(result?.rejected)) {
      throw new CliError(`${this.#placeOf(batch)} not taken: ${describeReply(reply)}`);
    }
    this.totals.accepted += result.accepted;
    this.totals.duplicates += result.duplicates;
    for (const { index, code, column, message } of result.rejected) {
      this.reject({ ok: false, line: batch[index]?.line ?? 0, code, column: column ?? null, message });
    }
  }

  async #post(batch: readonly ReplayEvent[]): Promise<HttpReply> {
    const { client, hasEventId, retryForMs, sleep, nowMs } = this.#options;
    const body = `{"events":[${batch.map(({ json }) => json).join(',')}]}`;
    const giveUpMs = nowMs() + retryForMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      let askedMs = 0;
      let problem: string;
      try {
        const reply = await client.post(this.#path, body);
        if (reply.status !== 429 && reply.status !== 503) return reply;
        askedMs = (reply.retryAfterSeconds ?? 0) * 1000;
        problem = describeReply(reply);
      } catch (error) {
        if (!(error instanceof NoReplyError)) throw error;
        if (error.maybeSent && !hasEventId) {
          throw new CliError(
            `the connection broke (${error.message}) while ${this.#placeOf(batch)} were sent. They may or may not be recorded, and ` +
              `source ${this.#options.source} has no event id by which a second sending would be recognised`,
            { cause: error },
          );
        }
        problem = error.message;
      }
      const waitMs = Math.min(Math.max(pauseMs, askedMs), LONGEST_PAUSE_MS);
      if (nowMs() + waitMs > giveUpMs) {
        throw new CliError(`${this.#placeOf(batch)} not taken within ${retryForMs / 1000} s: ${problem}`);
      }
      await sleep(waitMs);
    }
  }

  #placeOf(batch: readonly ReplayEvent[]): string {
    return `${this.#options.place ?? 'line'}s ${batch[0]!.line} to ${batch[batch.length - 1]!.line}`;
  }
}
