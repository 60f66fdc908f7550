/**
 * Runs in vitest's main process: starts Kafka and the registry when the first test file asks, over HTTP, and ends
 * them with the run. Test files run in processes of their own, none of which lives long enough to own a server.
 */
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type KafkaBroker, startKafka } from '../kafka/kafka-broker.ts';
import { HOST } from '../process/free-port.ts';
import { type RegistryServer, startRegistry } from '../registry/registry-server.ts';

export type SharedName = 'kafka' | 'registry';

/** What the host answers to `GET /kafka` and `GET /registry`. */
export type SharedAnswer = { readonly address: string } | { readonly error: string };

export class SharedServicesHost {
  readonly #http: HttpServer;
  #kafka: Promise<KafkaBroker> | undefined;
  #registry: Promise<RegistryServer> | undefined;

  private constructor() {
    this.#http = createServer((request, response) => {
      const name = request.url!.slice(1) as SharedName;
      this.#address(name)
        .then(
          (address): SharedAnswer => ({ address }),
          (error: unknown): SharedAnswer => ({ error: String(error) }),
        )
        .then((answer) => response.end(JSON.stringify(answer)));
    });
  }

  static async listen(): Promise<SharedServicesHost> {
    const host = new SharedServicesHost();
    await new Promise<void>((resolve, reject) => {
      host.#http.once('error', reject).listen(0, HOST, resolve);
    });
    host.#http.unref();
    return host;
  }

  get url(): string {
    return `http://${HOST}:${(this.#http.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#http.close();
    this.#http.closeAllConnections();
    const started = await Promise.allSettled([this.#kafka, this.#registry]);
    await Promise.all(started.map((result) => result.status === 'fulfilled' && result.value?.stop()));
  }

  async #address(name: SharedName): Promise<string> {
    if (name === 'kafka') {
      this.#kafka ??= startKafka();
      return (await this.#kafka).brokers[0]!;
    }
    this.#registry ??= startRegistry();
    return (await this.#registry).url;
  }
}
