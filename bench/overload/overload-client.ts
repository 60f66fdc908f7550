/**
 * The client of the overload benchmark, a process of its own: an open loop that sends at fixed times whatever comes back,
 * over a number of connections that are opened before; what finds none free waits, and its latency counts from the time it
 * was to be sent at. Sockets without an HTTP library: at three times what a server takes, that would be the limit.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { latencyHistogram, type Percentiles, percentilesOf, recordMs } from '../latency.ts';
import { obeyOrders } from '../worker.ts';

export interface ClientRequest {
  readonly kind: 'read' | 'push';
  readonly path: string;
  readonly body: string;
}

export type ClientOrder =
  | { readonly kind: 'start'; readonly port: number; readonly requests: readonly ClientRequest[] }
  /** As many as are answered, `connections` at a time. */
  | { readonly kind: 'closed'; readonly ms: number; readonly connections: number }
  | { readonly kind: 'open'; readonly ms: number; readonly ratePerSecond: number };

/** Of reads, and of pushes. */
export interface Outcome {
  readonly sent: number;
  /** By status; 0: nothing came. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Of those answered with 200, but for the first second; null where there are none. */
  readonly admitted: Percentiles | null;
  /** Of those of the first second, in which the load begins. */
  readonly onset: Percentiles | null;
  /** Of all others. */
  readonly refused: Percentiles | null;
}

export type ClientAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'ran'; readonly seconds: number; readonly read: Outcome; readonly push: Outcome };

const CONNECTIONS_MAX = 500;
/** Opened at once: more than a server lets wait would be tried again by the system, a second later. */
const OPENED_AT_ONCE = 50;
const TICK_MS = 1;
/** Of a run that is at least twice as long. */
const ONSET_MS = 1_000;
/** What is not answered by then is counted as nothing. */
const DRAIN_MS = 10_000;

class Tally {
  sent = 0;
  readonly statuses: Record<number, number> = {};
  readonly admitted = latencyHistogram();
  readonly onset = latencyHistogram();
  readonly refused = latencyHistogram();

  add(status: number, ms: number, isOnset: boolean): void {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    recordMs(status !== 200 ? this.refused : isOnset ? this.onset : this.admitted, ms);
  }

  outcome(): Outcome {
    const { sent, statuses, admitted, onset, refused } = this;
    const unanswered = sent - Object.values(statuses).reduce((sum, count) => sum + count, 0);
    return {
      sent,
      statuses: unanswered > 0 ? { ...statuses, 0: unanswered } : statuses,
      admitted: percentilesOrNull(admitted),
      onset: percentilesOrNull(onset),
      refused: percentilesOrNull(refused),
    };
  }
}

const percentilesOrNull = (histogram: ReturnType<typeof latencyHistogram>): Percentiles | null =>
  histogram.totalCount === 0 ? null : percentilesOf(histogram);

interface Pending {
  readonly bytes: Buffer;
  readonly scheduledMs: number;
  readonly done: (status: number) => void;
}

/** One connection, one request in flight. */
class Line {
  readonly #socket: Socket;
  readonly #idle: (line: Line) => void;
  readonly connected: Promise<void>;
  #pending: Pending | null = null;
  #received = '';

  constructor(port: number, idle: (line: Line) => void) {
    this.#idle = idle;
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.connected = new Promise((resolve) => this.#socket.once('connect', resolve));
    this.#socket.on('error', () => {});
    this.#socket.setEncoding('latin1').on('data', (text: string) => this.#take(text));
  }

  send(pending: Pending): void {
    this.#pending = pending;
    this.#socket.write(pending.bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf('\r\n\r\n');
    if (end === -1) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#received)![1]);
    if (this.#received.length < end + 4 + length) return;
    const status = Number(this.#received.slice(9, 12));
    const pending = this.#pending!;
    this.#received = '';
    this.#pending = null;
    pending.done(status);
    this.#idle(this);
  }
}

let port = 0;
let requests: { readonly kind: 'read' | 'push'; readonly bytes: Buffer }[] = [];
let next = 0;

async function run(ms: number, connections: number, ratePerSecond: number | null): Promise<ClientAnswer> {
  const tallies = { read: new Tally(), push: new Tally() };
  const free: Line[] = [];
  const lines: Line[] = [];
  const waiting: Pending[] = [];
  let unanswered = 0;
  const idle = (line: Line): void => {
    const pending = waiting.shift();
    if (pending !== undefined) line.send(pending);
    else free.push(line);
    if (ratePerSecond === null && performance.now() < endMs) request(performance.now());
  };
  while (lines.length < connections) {
    const some = Array.from(
      { length: Math.min(OPENED_AT_ONCE, connections - lines.length) },
      () => new Line(port, idle),
    );
    await Promise.all(some.map((line) => line.connected));
    lines.push(...some);
  }
  free.push(...lines);
  const startedMs = performance.now();
  const endMs = startedMs + ms;
  const request = (scheduledMs: number): void => {
    const { kind, bytes } = requests[next++ % requests.length]!;
    const tally = tallies[kind];
    tally.sent++;
    unanswered++;
    const done = (status: number): void => {
      unanswered--;
      const isOnset = ms >= 2 * ONSET_MS && scheduledMs < startedMs + ONSET_MS;
      tally.add(status, performance.now() - scheduledMs, isOnset);
    };
    const pending = { bytes, scheduledMs, done };
    const line = free.pop();
    if (line !== undefined) line.send(pending);
    else waiting.push(pending);
  };
  if (ratePerSecond === null) {
    for (let i = 0; i < connections; i++) request(performance.now());
    await delay(ms);
  } else {
    const count = Math.max(1, Math.floor((ms * ratePerSecond) / 1000));
    for (let sent = 0; sent < count; ) {
      const nowMs = performance.now();
      for (; sent < count; sent++) {
        const scheduledMs = startedMs + (sent * 1000) / ratePerSecond;
        if (scheduledMs > nowMs) break;
        request(scheduledMs);
      }
      await delay(TICK_MS);
    }
  }
  const seconds = (performance.now() - startedMs) / 1000;
  for (const lateMs = performance.now() + DRAIN_MS; unanswered > 0 && performance.now() < lateMs; ) {
    await delay(TICK_MS);
  }
  for (const line of lines) line.close();
  return { kind: 'ran', seconds, read: tallies.read.outcome(), push: tallies.push.outcome() };
}

obeyOrders<ClientOrder, ClientAnswer>(async (order) => {
  switch (order.kind) {
    case 'closed':
      return run(order.ms, order.connections, null);
    case 'open':
      return run(order.ms, CONNECTIONS_MAX, order.ratePerSecond);
    case 'start':
      port = order.port;
      next = 0;
      requests = order.requests.map(({ kind, path, body }) => ({
        kind,
        bytes: Buffer.from(
          `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n` +
            `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        ),
      }));
      return { kind: 'done' };
  }
});
