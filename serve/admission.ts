/**
 * Lets requests in, or sheds them before anything of their bodies is read.
 *
 * - Feature requests and pushes have limits of their own for what is in flight and for the bytes of their bodies, so that
 *   neither can take the other's place. Pushes have half as much, and are the first to be shed for the event loop's delay:
 *   see load-limit.ts. Everything else (health, metrics, catalogue, gaps, dead letters) is always let in.
 * - A batch counts as one request until its rows are known, then as more. A feature request that records its event counts
 *   as a push from then on.
 * - One request of a class alone is always let in, whatever it counts for.
 *
 * A request is in flight from when its body is there, as a slow client must not take anybody's place, until its answer is
 * made, also where its client has gone: what was begun for it goes on. It keeps its place to the end of that turn of the
 * event loop: over a store that answers at once, requests that arrived together are answered one by one within one turn, and
 * the queue is what they make each other wait. Bodies that are on their way count with their bytes, and so do large answers
 * until they are sent.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError } from './error-catalogue.ts';
import { watchEventLoopDelay } from './event-loop-delay.ts';
import { LoadLimit, type LoadLimitOptions, type RequestClass } from './load-limit.ts';
import type { Metrics } from './metrics.ts';
import { QueueWait, watchUtilization } from './queue-wait.ts';
import { requestId } from './request-id.ts';

export interface AdmissionOptions extends LoadLimitOptions {
  /** The largest body there may be; one of unknown length counts as so large. */
  readonly bodyBytes: number;
  /** Of bodies from 16 KiB on, and of such answers until they are sent; of each class. One alone may be larger. */
  readonly bytesInFlight: number;
  readonly metrics: Metrics;
  /** In [0, 1), for the spread of `retry-after`. @default Math.random */
  readonly random?: () => number;
}

/** `in_flight`: as many as there may ever be. `delay`: fewer, as the event loop is late or requests wait for one another. `bytes`: bodies. */
export type ShedReason = 'in_flight' | 'delay' | 'bytes';

/** Rows of a batch that count as one more request. */
const ROWS_PER_SLOT = 10;
/** Smaller ones are not counted: those of all connections there may be by default are 64 MiB. */
const COUNTED_BYTES_MIN = 16 * 1024;
/** Clients that were shed at one moment should not all come back at another. */
const RETRY_AFTER_S = ['1', '2', '3'] as const;

const CLASSES = ['serving', 'ingest'] as const satisfies readonly RequestClass[];
const REASONS = ['in_flight', 'delay', 'bytes'] as const satisfies readonly ShedReason[];

const overloaded = (requestClass: RequestClass): ApiError =>
  requestClass === 'ingest'
    ? new ApiError('overloaded', 'too many pushes are being taken: try again shortly')
    : new ApiError(
        'serving_overloaded',
        'there are more requests than can be answered in time: try again shortly',
      );

interface Line {
  /** Slots taken. */
  inFlight: number;
  bytes: number;
  /** The most slots taken since the event loop's delay was looked at. */
  peak: number;
  readonly shed: Record<ShedReason, number>;
}

const line = (): Line => ({ inFlight: 0, bytes: 0, peak: 0, shed: { in_flight: 0, delay: 0, bytes: 0 } });

export class Admission {
  readonly #limit: LoadLimit;
  readonly #bodyBytes: number;
  readonly #bytesMax: number;
  readonly #random: () => number;
  readonly #lines: Readonly<Record<RequestClass, Line>> = { serving: line(), ingest: line() };
  readonly #wait = new QueueWait(performance.now());
  /** The most slots that each class took since the wait was looked at. */
  readonly #peaks: Record<RequestClass, number> = { serving: 0, ingest: 0 };
  #ended: AdmittedRequest[] = [];
  /** Of connections, the large answers that are not sent yet: how to say that they are. */
  readonly #unsent = new WeakMap<Socket, Set<() => void>>();

  constructor({ metrics, bodyBytes, bytesInFlight, random = Math.random, ...limit }: AdmissionOptions) {
    this.#limit = new LoadLimit(limit);
    this.#bodyBytes = bodyBytes;
    this.#bytesMax = bytesInFlight;
    this.#random = random;
    metrics.onCollect(() => this.#collect(metrics));
  }

  /** Slots taken, and to be had at most: now, and where the event loop is not late. */
  slots(requestClass: RequestClass): {
    readonly inFlight: number;
    readonly limit: number;
    readonly top: number;
  } {
    const { inFlight } = this.#lines[requestClass];
    return { inFlight, limit: this.#limit.of(requestClass), top: this.#limit.topOf(requestClass) };
  }

  /** Looks at the event loop until the server closes, and sheds requests before the routes see them. */
  guard(server: Server): void {
    server.once('listening', () => {
      server.once(
        'close',
        watchEventLoopDelay((delayMs) => this.endInterval(delayMs)),
      );
      server.once(
        'close',
        watchUtilization((busy) => this.endWait(performance.now(), busy)),
      );
    });
    const listeners = server.listeners('request') as ((...args: [IncomingMessage, ServerResponse]) => void)[];
    server.removeAllListeners('request');
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const requestClass = classOf(request.method!, request.url!);
      if (requestClass !== null && this.sheds(requestClass, request, response)) return;
      for (const listener of listeners) listener.call(server, request, response);
    });
  }

  /** @param delayMs see `watchEventLoopDelay` */
  endInterval(delayMs: number): void {
    const { serving } = this.#lines;
    this.#limit.observe(delayMs, serving.peak);
    serving.peak = serving.inFlight;
  }

  /** @param busy see `watchUtilization` */
  endWait(nowMs: number, busy: number): void {
    this.#limit.observeWait(this.#wait.endInterval(nowMs, busy), busy, this.#peaks);
    for (const requestClass of CLASSES) this.#peaks[requestClass] = this.#lines[requestClass].inFlight;
  }

  /** Answers the request where it cannot be let in. */
  sheds(requestClass: RequestClass, request: IncomingMessage, response: ServerResponse): boolean {
    const reason = this.#refusal(requestClass, 1, this.#bytesOf(request));
    if (reason === null) return false;
    this.#countShed(requestClass, reason);
    const { status, headers, body } = SHED[requestClass][Math.floor(this.#random() * RETRY_AFTER_S.length)]!;
    response.writeHead(status, [...headers, 'x-request-id', requestId(request)]);
    response.end(body);
    return true;
  }

  /** A request that was not shed; its body may be on its way. */
  admit(requestClass: RequestClass, request: IncomingMessage): AdmittedRequest {
    return new AdmittedRequest(this, requestClass, this.#bytesOf(request));
  }

  /**
   * @param limit how many there may be
   * @param bytes that its answer will have at least
   * @param ownBytes of its body, which it need not wait for
   * @returns whether there was room for them
   */
  take(
    requestClass: RequestClass,
    slots: number,
    {
      limit = this.#limit.of(requestClass),
      bytes = 0,
      ownBytes = 0,
    }: { limit?: number; bytes?: number; ownBytes?: number } = {},
  ): boolean {
    const reason = this.#refusal(requestClass, slots, bytes, limit, ownBytes);
    if (reason !== null) this.#countShed(requestClass, reason);
    else this.add(requestClass, slots, 0);
    return reason === null;
  }

  /** Takes, or gives back, without a look at the limits. */
  add(requestClass: RequestClass, slots: number, bytes: number): void {
    const taken = this.#lines[requestClass];
    taken.inFlight += slots;
    taken.bytes += bytes;
    taken.peak = Math.max(taken.peak, taken.inFlight);
    this.#peaks[requestClass] = Math.max(this.#peaks[requestClass], taken.inFlight);
  }

  /** A feature request, whatever slots it takes, is in flight from now on. */
  begin(): void {
    this.#wait.begin(performance.now());
  }

  /** It is answered, or has become a push. */
  end(): void {
    this.#wait.end(performance.now());
  }

  /** A large answer counts until it is sent, or its client has gone. */
  sending(requestClass: RequestClass, response: ServerResponse, bytes: number): void {
    if (bytes < COUNTED_BYTES_MIN) return;
    this.add(requestClass, 0, bytes);
    const { socket } = response.req;
    let isSent = false;
    const sent = (): void => {
      if (isSent) return;
      isSent = true;
      this.add(requestClass, 0, -bytes);
      this.#unsent.get(socket)?.delete(sent);
    };
    response.once('finish', sent);
    // A pipelined answer is not told that its connection has ended before it was its turn.
    let unsent = this.#unsent.get(socket);
    if (unsent === undefined) {
      const all = new Set<() => void>();
      unsent = all;
      this.#unsent.set(socket, all);
      socket.once('close', () => {
        for (const one of all) one();
      });
    }
    unsent.add(sent);
    if (socket.destroyed) sent();
  }

  /** Gives back the places of a request at the end of this turn of the event loop. */
  release(request: AdmittedRequest): void {
    if (this.#ended.length === 0) {
      setImmediate(() => {
        const ended = this.#ended;
        this.#ended = [];
        for (const { requestClass, slots, bytes } of ended) {
          this.add(requestClass, -slots, -bytes);
          if (requestClass === 'serving' && slots > 0) this.end();
        }
      });
    }
    this.#ended.push(request);
  }

  #refusal(
    requestClass: RequestClass,
    slots: number,
    bytes: number,
    limit = this.#limit.of(requestClass),
    ownBytes = 0,
  ): ShedReason | null {
    const { inFlight, bytes: all } = this.#lines[requestClass];
    const taken = all - ownBytes;
    if (inFlight > 0 && inFlight + slots > limit) {
      return limit < this.#limit.topOf(requestClass) ? 'delay' : 'in_flight';
    }
    return bytes > 0 && taken > 0 && taken + bytes > this.#bytesMax ? 'bytes' : null;
  }

  #countShed(requestClass: RequestClass, reason: ShedReason): void {
    const taken = this.#lines[requestClass];
    taken.shed[reason]++;
    // A batch may not fit although there is room.
    if (reason !== 'bytes') taken.peak = Math.max(taken.peak, this.#limit.of(requestClass));
  }

  /** A body that says to be too large is refused unread. */
  #bytesOf({ headers }: IncomingMessage): number {
    const length = headers['content-length'];
    if (length === undefined) return headers['transfer-encoding'] === undefined ? 0 : this.#bodyBytes;
    const bytes = Number(length);
    return bytes < COUNTED_BYTES_MIN || bytes > this.#bodyBytes ? 0 : bytes;
  }

  /** Counted here rather than one by one, as shedding has to be cheap. */
  #collect(metrics: Metrics): void {
    for (const requestClass of CLASSES) {
      const { inFlight, shed } = this.#lines[requestClass];
      const labels = { class: requestClass };
      metrics.set('millrace_requests_in_flight', labels, inFlight);
      metrics.set('millrace_requests_in_flight_limit', labels, this.#limit.of(requestClass));
      for (const reason of REASONS) {
        metrics.count('millrace_requests_shed_total', { ...labels, reason }, shed[reason]);
        shed[reason] = 0;
      }
    }
    metrics.set('millrace_event_loop_delay_seconds', {}, this.#limit.delayMs / 1_000);
    metrics.set('millrace_request_wait_seconds', {}, this.#limit.waitMs / 1_000);
  }
}

/** What a request that was not shed unread counts for. */
export class AdmittedRequest {
  readonly #admission: Admission;
  #class: RequestClass;
  /** 0 until its body is there. */
  #slots = 0;
  readonly bytes: number;
  #released = false;

  constructor(admission: Admission, requestClass: RequestClass, bytes: number) {
    this.#admission = admission;
    this.#class = requestClass;
    this.bytes = bytes;
    admission.add(requestClass, 0, bytes);
  }

  /**
   * Its body is there.
   * @throws ApiError `serving_overloaded`, `overloaded` where others have come before it and there is no room any more
   */
  begin(): void {
    if (!this.#admission.take(this.#class, 1)) throw overloaded(this.#class);
    this.#slots = 1;
    if (this.#class === 'serving') this.#admission.begin();
  }

  get requestClass(): RequestClass {
    return this.#class;
  }

  get slots(): number {
    return this.#slots;
  }

  /**
   * Counts the rows of a batch; half of what may be in flight at most, so that a large one is not shed for ever, and leaves a place
   * for others.
   * @throws ApiError `serving_overloaded` where there is no room for them
   */
  addRows(rows: number): void {
    const { limit } = this.#admission.slots(this.#class);
    const slots = Math.min(Math.floor(rows / ROWS_PER_SLOT), Math.floor((limit - 1) / 2));
    if (slots === 0) return;
    // Answers that nobody reads leave no room for more of them.
    if (!this.#admission.take(this.#class, slots, { bytes: rows, ownBytes: this.bytes }))
      throw overloaded(this.#class);
    this.#slots += slots;
  }

  /** Its answer is made, of so many bytes. */
  sending(response: ServerResponse, bytes: number): void {
    this.#admission.sending(this.#class, response, bytes);
  }

  /**
   * It records an event now: a log that is slow must not take places of feature requests. What its client asked for is
   * nearly done, so that a late event loop is no reason to refuse it.
   * @throws ApiError `overloaded` where no more pushes are taken
   */
  becomePush(): void {
    if (this.#class === 'ingest') return;
    const { top } = this.#admission.slots('ingest');
    if (!this.#admission.take('ingest', this.#slots, { limit: top })) throw overloaded('ingest');
    this.#admission.add('ingest', 0, this.bytes);
    this.#admission.add(this.#class, -this.#slots, -this.bytes);
    this.#admission.end();
    this.#class = 'ingest';
  }

  /** Idempotent. */
  release(): void {
    if (!this.#released) this.#admission.release(this);
    this.#released = true;
  }
}

/** By what a client sent, before there is a route; null: it is always let in. */
function classOf(method: string, url: string): RequestClass | null {
  if (method !== 'POST') return null;
  if (url.startsWith('/v1/services/')) return 'serving';
  if (!url.startsWith('/v1/sources/')) return null;
  const query = url.indexOf('?');
  return url.endsWith('/events', query === -1 ? url.length : query) ? 'ingest' : null;
}

const ROUTE_CLASSES: ReadonlyMap<string | undefined, RequestClass> = new Map([
  ['/v1/services/:service/features', 'serving'],
  ['/v1/services/:service/features/batch', 'serving'],
  ['/v1/sources/:source/events', 'ingest'],
]);

/** null: it is always let in. */
export const classOfRoute = (method: string, url: string | undefined): RequestClass | null =>
  method === 'POST' ? (ROUTE_CLASSES.get(url) ?? null) : null;

/** Answers that are ready to be sent, one for each time to wait. */
const SHED = Object.fromEntries(
  CLASSES.map((requestClass) => {
    const error = overloaded(requestClass);
    const body = JSON.stringify(error.body());
    const answers = RETRY_AFTER_S.map((seconds) => ({
      status: error.status,
      headers: [
        'content-type',
        'application/json; charset=utf-8',
        'content-length',
        String(Buffer.byteLength(body)),
        'retry-after',
        seconds,
      ],
      body,
    }));
    return [requestClass, answers];
  }),
) as Record<RequestClass, { status: number; headers: string[]; body: string }[]>;
