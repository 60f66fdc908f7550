/**
 * The yardstick for writes, a process of its own, a bare loop of reading and comparing-and-setting: kafkajs, JSON.parse, and
 * for every event an HMGET and, if the state's token is still the one read, an HSET of as many bytes as the engine wrote for it,
 * pipelined as the engine does it. It merges nothing.
 */
import { Redis } from 'ioredis';
import kafkajs, { type Consumer } from 'kafkajs';
import { obeyOrders } from '../worker.ts';
import { CpuMeter } from './process-cpu.ts';

/** Bytes of the fields of a state's hash. */
export type FieldBytes = Readonly<Record<string, number>>;

export interface BareWriterOrder {
  readonly kind: 'write';
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly redis: string;
  readonly redisPid: number;
  /** Resolves when so many are written. */
  readonly events: number;
  readonly partitions: number;
  /** After the first event of a key, and after the second. */
  readonly states: readonly [FieldBytes, FieldBytes];
}

export interface BareWriterAnswer {
  readonly kind: 'written';
  /** Between the first events written and the last. */
  readonly events: number;
  readonly ms: number;
  /** CPU time meanwhile, s: of this process, of Redis. */
  readonly cpuSeconds: readonly number[];
  /** The same for the second half. */
  readonly later: { readonly events: number; readonly ms: number };
}

/** As the engine. */
const KEYS_PER_ROUND = 256;
const GROUP = 'bare';
const TOKEN_BYTES = 8;
/** The field that begins with the token. */
const HEAD = '.';
const COMPARE_AND_SET = `
local present = redis.call('HGET', KEYS[1], '${HEAD}')
if (present and string.sub(present, 1, ${TOKEN_BYTES}) or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1`;

let consumer: Consumer | null = null;

async function write(order: BareWriterOrder): Promise<BareWriterAnswer> {
  const redis = new Redis(order.redis);
  const kafka = new kafkajs.Kafka({
    brokers: [...order.brokers],
    clientId: GROUP,
    logLevel: kafkajs.logLevel.NOTHING,
  });
  consumer = kafka.consumer({ groupId: `${GROUP}-${process.pid}`, maxWaitTimeInMs: 50 });
  await consumer.connect();
  await consumer.subscribe({ topic: order.topic, fromBeginning: true });
  const sha = String(await redis.script('LOAD', COMPARE_AND_SET));
  const fields = [HEAD, ...Object.keys(order.states[1]).filter((field) => field !== HEAD)];
  const [first, second] = order.states.map(({ [HEAD]: headBytes, ...bytes }) => ({
    headBytes: Math.max(headBytes ?? 0, TOKEN_BYTES),
    others: Object.entries(bytes).flatMap(([field, length]): (string | Buffer)[] => [
      field,
      Buffer.alloc(length, 7),
    ]),
  }));
  const none = Buffer.alloc(0);
  let tokens = 0;
  const cpu = new CpuMeter([process.pid, order.redisPid]);
  let written = 0;
  let begun: { events: number; atMs: number } | null = null;
  let half: { events: number; atMs: number } | null = null;

  /** Reads the states of the keys, and writes those whose token is still the one read. @returns the others */
  const losersOf = async (keys: readonly string[]): Promise<string[]> => {
    const reads = redis.pipeline();
    for (const key of keys) reads.hmgetBuffer(key, ...fields);
    const found = await reads.exec();
    const writes = redis.pipeline();
    keys.forEach((key, i) => {
      const [error, state] = found![i]! as [Error | null, (Buffer | null)[]];
      if (error !== null) throw error;
      const { headBytes, others } = state[0] === null ? first! : second!;
      const head = Buffer.alloc(headBytes, 7);
      head.writeUIntBE(++tokens, 0, 6);
      const expected = state[0]?.subarray(0, TOKEN_BYTES) ?? none;
      writes.evalsha(sha, 1, key, expected, HEAD, head, ...others);
    });
    const replies = (await writes.exec())!;
    return keys.filter((_, i) => {
      const [error, won] = replies[i]!;
      if (error !== null) throw error;
      return won !== 1;
    });
  };

  const writeRound = async (values: readonly (Buffer | null)[]): Promise<void> => {
    const keys = values.map((value) => `bare:${(JSON.parse(value!.toString()) as { card: string }).card}`);
    // A key that comes twice in a round loses once.
    for (let pending = keys; pending.length > 0; ) pending = await losersOf(pending);
    written += keys.length;
    if (begun === null) {
      begun = { events: written, atMs: performance.now() };
      cpu.start();
    }
    if (written >= order.events / 2) half ??= { events: written, atMs: performance.now() };
  };

  try {
    await new Promise<void>((resolve, reject) => {
      consumer!
        .run({
          partitionsConsumedConcurrently: order.partitions,
          eachBatch: async ({ batch: { messages } }) => {
            try {
              for (let at = 0; at < messages.length; at += KEYS_PER_ROUND) {
                await writeRound(messages.slice(at, at + KEYS_PER_ROUND).map(({ value }) => value));
              }
            } catch (error) {
              reject(error);
            }
            if (written >= order.events) resolve();
          },
        })
        .catch(reject);
    });
    const endMs = performance.now();
    cpu.stop();
    const since = (point: { events: number; atMs: number }) => ({
      events: written - point.events,
      ms: endMs - point.atMs,
    });
    return { kind: 'written', ...since(begun!), cpuSeconds: cpu.seconds, later: since(half!) };
  } finally {
    await consumer.disconnect();
    redis.disconnect();
  }
}

obeyOrders<BareWriterOrder, BareWriterAnswer>(write);
