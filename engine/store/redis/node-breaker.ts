/**
 * A circuit breaker for one Redis node, for reads that somebody waits for.
 *
 * - Closed: calls go through. It opens where the node has sent no byte for `silenceMs` while a call waits for it, or
 *   after five calls in a row that came to no answer. A slow node that goes on answering does not open it, however long
 *   the answers take and however much was asked; an error as answer is an answer.
 * - Open: what waits for the node is rejected, and new calls are at once, until a pause is over.
 * - Then one call is let through. An answer to it, or a late one to a call before, closes the breaker; if there is none the
 *   next pause is twice as long.
 *
 * What a rejected call has sent may still be executed: these are reads. Commands under way are counted until the client
 * gives them up, and bounded, so that its queue is bounded too.
 */
import { LinkedList, type LinkedNode } from '../../linked-list.ts';
import { StoreUnavailableError } from '../store-errors.ts';

export interface NodeBreakerOptions {
  /** HOST:PORT or the path of a socket, for messages. */
  readonly address: string;
  /** How long a node may be silent while a call waits, ms. */
  readonly silenceMs: number;
  /** Bytes received from the node so far; any other number after the connection was made anew. */
  readonly receivedBytes: () => number;
  /** Whether the node answered, if only with an error. */
  readonly isAnswer: (error: unknown) => boolean;
  /** @param reason why it opened; null: it has closed. */
  readonly onChange: (address: string, reason: string | null) => void;
  /** ms, monotonic. @default performance.now */
  readonly nowMs?: () => number;
}

const FAILURES_MAX = 5;
const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 1_000;
/** Commands under way; a batch of 1,000 rows over two views are 2,000. */
const COMMANDS_MAX = 8_192;
/** The silence is looked at so many times while it lasts. */
const LOOKS = 4;

interface Call {
  readonly sentMs: number;
  readonly reject: (error: Error) => void;
}

export class NodeBreaker {
  readonly #options: NodeBreakerOptions;
  readonly #nowMs: () => number;
  /** Not answered and not rejected, the oldest first. */
  #waiting = new LinkedList<Call>();
  #state: 'closed' | 'open' | 'trial' = 'closed';
  #commands = 0;
  #failures = 0;
  #pauseMs = PAUSE_MS_MIN;
  #openUntilMs = 0;
  #receivedBytes = 0;
  #receivedMs = 0;
  #looking = false;

  constructor(options: NodeBreakerOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  get address(): string {
    return this.#options.address;
  }

  /** Also while a call tries whether the node answers again. */
  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  /** @throws StoreUnavailableError where so many commands must not be sent now */
  check(commands: number): void {
    const { address } = this.#options;
    if (this.#state === 'trial' || (this.#state === 'open' && this.#nowMs() < this.#openUntilMs)) {
      throw new StoreUnavailableError(`Redis at ${address} does not answer and is not asked for now`);
    }
    if (this.#commands > 0 && this.#commands + commands > COMMANDS_MAX) {
      throw new StoreUnavailableError(`Redis at ${address} is too far behind to be asked more`);
    }
  }

  /** To be called after `check`, with what was sent; rejects early where the node falls silent. */
  follow<T>(replies: Promise<T>, commands: number): Promise<T> {
    if (this.#state === 'open') this.#state = 'trial';
    this.#commands += commands;
    return new Promise((resolve, reject) => {
      const call = this.#waiting.add({ sentMs: this.#nowMs(), reject });
      this.#look();
      replies.then(
        (values) => {
          this.#settled(call, commands);
          this.#answered();
          resolve(values);
        },
        (error: unknown) => {
          this.#settled(call, commands);
          if (this.#options.isAnswer(error)) this.#answered();
          else this.#failed(error instanceof Error ? error.message : 'no answer');
          reject(error);
        },
      );
    });
  }

  #settled(call: LinkedNode<Call>, commands: number): void {
    this.#waiting.remove(call);
    this.#commands -= commands;
  }

  #answered(): void {
    this.#failures = 0;
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#pauseMs = PAUSE_MS_MIN;
    this.#options.onChange(this.#options.address, null);
  }

  #failed(reason: string): void {
    this.#failures++;
    if (this.#state === 'trial') this.#open(reason);
    else if (this.#state === 'closed' && this.#failures >= FAILURES_MAX) this.#open(reason);
  }

  #open(reason: string): void {
    if (this.#state === 'trial') this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS_MAX);
    if (this.#state === 'closed') this.#options.onChange(this.#options.address, reason);
    this.#state = 'open';
    this.#openUntilMs = this.#nowMs() + this.#pauseMs;
  }

  /** Looks at the silence while calls wait: one timer, however many there are. */
  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#receivedBytes = this.#options.receivedBytes();
    this.#receivedMs = this.#nowMs();
    const again = (): void => {
      setTimeout(() => {
        // After a time in which this process did nothing, what has arrived meanwhile is read first.
        setImmediate(() => {
          this.#lookOnce();
          if (!this.#waiting.isEmpty) again();
          else this.#looking = false;
        });
      }, this.#options.silenceMs / LOOKS).unref();
    };
    again();
  }

  #lookOnce(): void {
    const oldest = this.#waiting.first;
    const nowMs = this.#nowMs();
    const receivedBytes = this.#options.receivedBytes();
    if (receivedBytes !== this.#receivedBytes) {
      this.#receivedBytes = receivedBytes;
      this.#receivedMs = nowMs;
      return;
    }
    if (oldest === undefined || nowMs - Math.max(oldest.sentMs, this.#receivedMs) < this.#options.silenceMs)
      return;
    const { address, silenceMs } = this.#options;
    const reason = `it has not answered for ${silenceMs} ms`;
    this.#open(reason);
    const error = new StoreUnavailableError(`Redis at ${address}: ${reason}`);
    const waiting = this.#waiting;
    this.#waiting = new LinkedList();
    for (const { reject } of waiting) reject(error);
  }
}
