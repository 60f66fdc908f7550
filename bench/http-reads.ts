/** Two HTTP servers of this process under the same client, in turns. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type FastifyInstance, fastify } from 'fastify';
import { type Percentiles, Side } from './latency.ts';
import type { ClientAnswer, ClientOrder } from './load-client.ts';

export const CONCURRENCY = 16;

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
  const client = new Client();
  try {
    await client.order({ kind: 'start', bodies: args.bodies, concurrency: CONCURRENCY });
    const engine = new Measured(client, 'engine', await originOf(args.engine.app), args.engine.path);
    const bare = new Measured(client, 'bare', await originOf(args.bare.app), args.bare.path);
    for (const side of [engine, bare]) await side.run(args.roundMs, { warmUp: true });
    await client.order({ kind: 'forget' });
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
  readonly #client: Client;
  readonly #order: { readonly side: string; readonly origin: string; readonly path: string };
  readonly #side = new Side();
  #requests = 0;
  #bytes = 0;
  #cpuUs = 0;
  #busyMs = 0;
  #ms = 0;

  constructor(client: Client, side: string, origin: string, path: string) {
    this.#client = client;
    this.#order = { side, origin, path };
  }

  async run(ms: number, { warmUp }: { warmUp: boolean }): Promise<void> {
    const cpu = process.cpuUsage();
    const loop = performance.eventLoopUtilization();
    const answer = await this.#client.order({ kind: 'run', ms, ...this.#order });
    if (answer.kind !== 'ran') throw new Error(`the client answered ${answer.kind}`);
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
    const answer = await this.#client.order({ kind: 'report', side: this.#order.side });
    if (answer.kind !== 'report') throw new Error(`the client answered ${answer.kind}`);
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

class Client {
  readonly #process: ChildProcess = fork(fileURLToPath(new URL('./load-client.ts', import.meta.url)), {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    execArgv: ['--import', 'tsx'],
  });

  /** One order at a time. @throws what went wrong in the client */
  order(order: ClientOrder): Promise<ClientAnswer> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the HTTP client ended with ${code}`));
      this.#process.once('exit', ended);
      this.#process.once('message', (answer: ClientAnswer) => {
        this.#process.off('exit', ended);
        if (answer.kind === 'failed') reject(new Error(answer.message));
        else resolve(answer);
      });
      this.#process.send(order);
    });
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.disconnect();
    await exited;
  }
}
