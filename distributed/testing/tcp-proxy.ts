/** A TCP address that can be led to another server, as the name of a Redis primary is at a failover. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port: number;

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
      const server = connect({ host: HOST, port: this.#port });
      for (const [own, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(own);
        own.on('error', () => {});
        own.on('close', () => {
          this.#sockets.delete(own);
          other.destroy();
        });
        own.pipe(other);
      }
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts all connections; new ones are led to `port`. */
  leadTo(port: number): void {
    this.#port = port;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
