import { fastify } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { loadClient } from './http-reads.ts';

/** Answers with each of the statuses, then 200. */
async function serverOf(statuses: number[]): Promise<{ origin: string; bodies: unknown[] }> {
  const app = fastify();
  const bodies: unknown[] = [];
  app.post('/', async (request, reply) => {
    bodies.push(request.body);
    return reply.status(statuses.shift() ?? 200).send({ code: 'of the server' });
  });
  onTestFinished(async () => app.close());
  return { origin: await app.listen({ host: '127.0.0.1', port: 0 }), bodies };
}

async function clientOf(): Promise<ReturnType<typeof loadClient>> {
  const client = loadClient();
  onTestFinished(() => client.close());
  await client.order({ kind: 'start', bodies: ['{"n":1}', '{"n":2}'], concurrency: 1 }, 'done');
  return client;
}

test('what is refused for now is asked again, counted, and the time counts', async () => {
  const { origin, bodies } = await serverOf([503, 429]);
  const client = await clientOf();
  const order = { kind: 'pace', side: 'engine', origin, path: '/', ms: 2, ratePerSecond: 1000 } as const;
  const { requests } = await client.order(order, 'ran');
  const { refused, percentiles } = await client.order({ kind: 'report', side: 'engine' }, 'report');
  expect({ requests, refused, asked: bodies.length }).toEqual({ requests: 2, refused: 2, asked: 4 });
  // Two pauses of 5 ms, of one request or of one each.
  expect(percentiles.maxUs).toBeGreaterThan(4_000);
});

test('another status ends the benchmark with what the server said', async () => {
  const { origin } = await serverOf([400]);
  const client = await clientOf();
  const order = { kind: 'run', side: 'engine', origin, path: '/', ms: 10_000 } as const;
  await expect(client.order(order, 'ran')).rejects.toThrow('engine answered 400: {"code":"of the server"}');
});
