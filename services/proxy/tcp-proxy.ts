/**
 * A TCP address before a server, with what networks do to a connection: cut in the middle of a message, replies lost,
 * everything late, nothing for a while and then all of it. It can be led to another server, as the name of a Redis primary
 * is at a failover.
 *
 * No back-pressure: what is held or slow is kept in memory.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { HOST } from '../process/free-port.ts';

/** What clients send, or what servers answer. */
export type Direction = 'requests' | 'replies';

type Fault =
  | { readonly kind: 'none' }
  | { readonly kind: 'lost_replies' }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'hold' };

const NO_FAULT: Fault = { kind: 'none' };

export class TcpProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #port: number;
  #fault: Fault = NO_FAULT;
  /** Bytes that still pass in a direction before their connection is cut. */
  #cutAfter: { readonly direction: Direction; bytes: number } | null = null;

  /** @param port where connections are led to */
  static async open(port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(port);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject).listen(0, HOST, resolve);
    });
    return proxy;
  }

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((client) => {
      const link = new Link(client, connect({ host: HOST, port: this.#port }), {
        pass: (direction, bytes) => this.#pass(link, direction, bytes),
        ended: () => this.#links.delete(link),
      });
      this.#links.add(link);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts all connections; new ones are led to `port`. */
  leadTo(port: number): void {
    this.#port = port;
    this.cut();
  }

  /** Cuts all connections; what was on its way is gone. */
  cut(): void {
    for (const link of this.#links) link.cut();
  }

  /** Cuts the connection on which so many more bytes, all connections counted, have gone in that direction. Once. */
  cutAfter(direction: Direction, bytes: number): void {
    this.#cutAfter = { direction, bytes };
  }

  /** Requests arrive and are executed; nobody hears of it. To be ended by `heal` and, for the client's sake, `cut`. */
  loseReplies(): void {
    this.#fault = { kind: 'lost_replies' };
  }

  /** Everything, in both directions, comes so much later. */
  delay(ms: number): void {
    this.#fault = { kind: 'delay', ms };
  }

  /**
   * Nothing passes until `heal`, which delivers everything: also requests of clients that have given up and gone
   * meanwhile, which are then executed long after.
   */
  hold(): void {
    this.#fault = { kind: 'hold' };
  }

  /** Ends whatever there is; what was held or late is delivered now. */
  heal(): void {
    this.#fault = NO_FAULT;
    this.#cutAfter = null;
    for (const link of this.#links) link.deliver(Number.POSITIVE_INFINITY);
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #pass(link: Link, direction: Direction, bytes: Buffer): void {
    const cutAfter = this.#cutAfter;
    if (cutAfter?.direction === direction) {
      if (bytes.length >= cutAfter.bytes) {
        this.#cutAfter = null;
        link.send(direction, bytes.subarray(0, cutAfter.bytes), 0);
        link.cut({ delivering: true });
        return;
      }
      cutAfter.bytes -= bytes.length;
    }
    const fault = this.#fault;
    if (fault.kind === 'lost_replies' && direction === 'replies') return;
    if (fault.kind === 'hold') link.send(direction, bytes, Number.POSITIVE_INFINITY);
    else link.send(direction, bytes, fault.kind === 'delay' ? fault.ms : 0);
  }
}

interface LinkListener {
  pass(direction: Direction, bytes: Buffer): void;
  ended(): void;
}

/** One connection of a client and the one to the server that goes with it. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  /** What is not delivered yet, in order. Due times as of `performance.now()`. */
  readonly #waiting: { readonly direction: Direction; readonly bytes: Buffer; readonly dueMs: number }[] = [];
  #clientGone = false;

  constructor(client: Socket, server: Socket, { pass, ended }: LinkListener) {
    this.#client = client;
    this.#server = server;
    // A network does not wait for acknowledgements before it passes on the rest.
    for (const socket of [client, server]) socket.setNoDelay(true);
    client.on('error', () => {}).on('data', (bytes) => pass('requests', bytes));
    server.on('error', () => {}).on('data', (bytes) => pass('replies', bytes));
    client.on('close', () => {
      this.#clientGone = true;
      this.#endServer();
    });
    server.on('close', () => {
      client.destroy();
      ended();
    });
  }

  /** @param lateMs ∞: until everything is delivered */
  send(direction: Direction, bytes: Buffer, lateMs: number): void {
    if (lateMs === 0 && this.#waiting.length === 0) {
      this.#write(direction, bytes);
      return;
    }
    // Never before what was sent before it.
    const nowMs = performance.now();
    const dueMs = Math.max(nowMs + lateMs, this.#waiting.at(-1)?.dueMs ?? 0);
    this.#waiting.push({ direction, bytes, dueMs });
    if (dueMs !== Number.POSITIVE_INFINITY) {
      // A timer may be early by less than a millisecond.
      setTimeout(() => this.deliver(performance.now() + 1), dueMs - nowMs);
    }
  }

  /** What is due by then. */
  deliver(untilMs: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.dueMs <= untilMs) {
      const { direction, bytes } = this.#waiting.shift()!;
      this.#write(direction, bytes);
    }
    this.#endServer();
  }

  /** @param options.delivering what was sent still arrives */
  cut({ delivering = false } = {}): void {
    this.#waiting.length = 0;
    for (const socket of [this.#client, this.#server]) {
      if (delivering) socket.destroySoon();
      else socket.destroy();
    }
  }

  #write(direction: Direction, bytes: Buffer): void {
    const to = direction === 'requests' ? this.#server : this.#client;
    if (!to.destroyed) to.write(bytes);
  }

  /** Once nothing is on its way to it from a client that has gone. */
  #endServer(): void {
    if (this.#clientGone && !this.#waiting.some(({ direction }) => direction === 'requests')) {
      this.#server.end();
    }
  }
}
