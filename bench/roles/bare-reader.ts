/**
 * The yardstick for reads, a process of its own: a fastify route that gets from Redis, with ioredis, what the engine
 * got for the same request, and answers what the engine answered.
 */
import { fastify } from 'fastify';
import { Redis } from 'ioredis';
import { obeyOrders } from '../worker.ts';

/** What is fetched for one request: per state its key and fields. */
export interface BarePlan {
  /** The keys of the request. */
  readonly entities: Readonly<Record<string, string | number>>;
  readonly present: readonly StateFields[];
  readonly asked: readonly StateFields[];
  /** Of the fields present, which the route compares; null where events change them meanwhile. */
  readonly bytes: number | null;
  readonly answer: unknown;
}

export interface StateFields {
  readonly key: string;
  readonly fields: readonly string[];
}

export type BareReaderOrder =
  | { readonly kind: 'connect'; readonly redis: string }
  | { readonly kind: 'add'; readonly plans: readonly BarePlan[] }
  | { readonly kind: 'listen' };

export type BareReaderAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'listens'; readonly origin: string };

interface Request {
  readonly entities: Readonly<Record<string, unknown>>;
}

const plans = new Map<string, BarePlan>();
let redis: Redis | undefined;
const app = fastify();

/** Requests name their entities in one order. */
const nameOf = (entities: Request['entities']): string => Object.values(entities).join('|');

for (const variant of ['present', 'asked'] as const) {
  app.post<{ Body: Request }>(`/${variant}`, async ({ body: { entities } }) => {
    const plan = plans.get(nameOf(entities))!;
    const pipeline = redis!.pipeline();
    for (const { key, fields } of plan[variant]) pipeline.hmgetBuffer(key, ...fields);
    let bytes = 0;
    for (const [error, values] of (await pipeline.exec())!) {
      if (error !== null) throw error;
      for (const value of values as (Buffer | null)[]) bytes += value?.length ?? 0;
    }
    if (plan.bytes !== null && bytes !== plan.bytes)
      throw new Error(`${bytes} bytes in Redis, not ${plan.bytes}`);
    return plan.answer;
  });
}

obeyOrders<BareReaderOrder, BareReaderAnswer>(async (order) => {
  switch (order.kind) {
    case 'connect':
      redis = new Redis(order.redis);
      return { kind: 'done' };
    case 'add':
      for (const plan of order.plans) plans.set(nameOf(plan.entities), plan);
      return { kind: 'done' };
    case 'listen':
      return { kind: 'listens', origin: await app.listen({ host: '127.0.0.1', port: 0 }) };
  }
});
