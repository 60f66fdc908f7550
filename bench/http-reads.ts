/** Two HTTP servers of this process under the same client, in turns. */
import { type FastifyInstance, fastify } from 'fastify';
import { type Percentiles, Side } from './latency.ts';
import type { ClientAnswer, ClientOrder } from './load-client.ts';
import { Worker } from './worker.ts';

export const CONCURRENCY = 16;

export type LoadClient = Worker<ClientOrder, ClientAnswer>;

export const loadClient = (): LoadClient => new Worker(new URL('./load-client.ts', import.meta.url));

export interface HttpSide {
  readonly perSecond: number;
  readonly rates: readonly number[];
  readonly percentiles: Percentiles;
  readonly bytesPerAnswer: number;
  /** Share of the time that the server's event loop was busy; near 1: the server, not the client, was the limit. */
  readonly busy: number;
  /** CPU time of the server's process per request. */
  readonly cpuUs: number;
}

export interface Target {
  readonly app: FastifyInstance;
  readonly path: string;
}

/** Answers each of the bodies in turn, parsed requests and all, and does nothing else. */
export function bareServer(answers: readonly unknown[]): Target {
  const app = fastify();
  let next = 0;
  app.post('/bare', async () => answers[next++ % answers.length]);
  return { app, path: '/bare' };
}

export async function compareHttp(args: {
  engine: Target;
  bare: Target;
  bodies: readonly string[];
  rounds: number;
  roundMs: number;
}): Promise<{ engine: HttpSide; bare: HttpSide }> {
  const client = loadClient();
  try {
    await client.order({ kind: 'start', bodies: args.bodies, concurrency: CONCURRENCY }, 'done');
    const engine = new Measured(client, 'engine', await originOf(args.engine.app), args.engine.path);
    const bare = new Measured(client, 'bare', await originOf(args.bare.app), args.bare.path);
    for (const side of [engine, bare]) await side.run(args.roundMs, { warmUp: true });
    await client.order({ kind: 'forget' }, 'done');
    for (let round = 0; round < args.rounds; round++) {
      for (const side of [engine, bare]) await side.run(args.roundMs, { warmUp: false });
    }
    return { engine: await engine.report(), bare: await bare.report() };
  } finally {
    await client.close();
  }
}

async function originOf(app: FastifyInstance): Promise<string> {
  return app.listen({ host: '127.0.0.1', port: 0 });
}

class Measured {
  readonly #client: LoadClient;
  readonly #order: { readonly side: string; readonly origin: string; readonly path: string };
  readonly #side = new Side();
  #requests = 0;
  #bytes = 0;
  #cpuUs = 0;
  #busyMs = 0;
  #ms = 0;

  constructor(client: LoadClient, side: string, origin: string, path: string) {
    this.#client = client;
    this.#order = { side, origin, path };
  }

  async run(ms: number, { warmUp }: { warmUp: boolean }): Promise<void> {
    const cpu = process.cpuUsage();
    const loop = performance.eventLoopUtilization();
    const answer = await this.#client.order({ kind: 'run', ms, ...this.#order }, 'ran');
    if (warmUp) return;
    const { user, system } = process.cpuUsage(cpu);
    const { active, idle } = performance.eventLoopUtilization(loop);
    this.#side.endRound(answer.requests, answer.seconds);
    this.#requests += answer.requests;
    this.#bytes += answer.bytes;
    this.#cpuUs += user + system;
    this.#busyMs += active;
    this.#ms += active + idle;
  }

  async report(): Promise<HttpSide> {
    const answer = await this.#client.order({ kind: 'report', side: this.#order.side }, 'report');
    return {
      perSecond: this.#side.perSecond,
      rates: this.#side.rates,
      percentiles: answer.percentiles,
      bytesPerAnswer: this.#bytes / this.#requests,
      busy: this.#busyMs / this.#ms,
      cpuUs: this.#cpuUs / this.#requests,
    };
  }
}
