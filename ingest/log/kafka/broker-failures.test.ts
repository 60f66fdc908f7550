/**
 * A broker of our own that is killed, restarted and stopped while we append and read. What it does not catch: a
 * cluster that moves leaders and coordinators, and loss of a broker's disk.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithServices } from '../../../services/index.ts';
import { type KafkaBroker, startKafka } from '../../../services/kafka/kafka-broker.ts';
import type { AppendRecord } from '../event-log.ts';
import { AppendFailedError, AppendQueueFullError, KafkaUnreachableError } from './kafka-errors.ts';
import { KafkaConnection } from './kafka-log.ts';
import { eventually, KafkaBench, silent } from './testing/kafka-test.ts';

describeWithServices(['kafka'], 'Kafka log and its broker', () => {
  let broker: KafkaBroker;
  let bench: KafkaBench;

  beforeAll(async () => {
    // A broker that was killed may come back when its session with the controller (itself) has ended.
    broker = await startKafka({
      properties: { 'broker.session.timeout.ms': 2_000, 'broker.heartbeat.interval.ms': 500 },
    });
    bench = await KafkaBench.open(broker.brokers);
  });
  afterAll(async () => {
    await bench?.close();
    await broker?.stop();
  });

  const record = (value: string, partition = 0): AppendRecord => ({
    partition,
    appendedMs: 5,
    stamp: null,
    value: Buffer.from(value),
    eventTimeMs: 0,
  });

  it('reads every acknowledged record, and recovers by itself, when its broker is killed and comes back', async () => {
    const topic = await bench.topic(2);
    const connection = await bench.connect();
    const writer = connection.writer({ topic, source: 'events' });
    const stalls: string[] = [];
    const reader = await bench.reader(connection, topic, 2, {
      onStalled: (error) => stalls.push(error.message),
    });

    const seen = [new Set<string>(), new Set<string>()];
    const next = [0, 0];
    const stop = new AbortController();
    const readOn = async (partition: number): Promise<void> => {
      while (!stop.signal.aborted) {
        try {
          const chunk = await reader.read({
            partition,
            fromOffset: next[partition]!,
            maxRecords: 500,
            maxBytes: 1e9,
          });
          // Without transactions or compaction there is no hole.
          chunk.records.forEach(({ offset, value }, i) => {
            if (offset !== next[partition]! + i)
              stalls.push(`offset ${offset} after ${next[partition]! + i - 1}`);
            seen[partition]!.add(Buffer.from(value!).toString());
          });
          next[partition] = chunk.nextOffset;
          if (chunk.records.length === 0) {
            await reader.waitFor(
              partition,
              chunk.nextOffset,
              AbortSignal.any([stop.signal, AbortSignal.timeout(500)]),
            );
          }
        } catch {
          // Not assigned for now, or no broker.
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    };
    const reading = [readOn(0), readOn(1)];
    const acknowledged = [new Set<string>(), new Set<string>()];
    const appendOn = async (lane: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const partition = i % 2;
        try {
          await writer.append([record(`${lane}:${i}`, partition)]);
          acknowledged[partition]!.add(`${lane}:${i}`);
        } catch {
          // Perhaps appended, perhaps not: nobody was told that it is.
        }
      }
    };
    const appending = [0, 1, 2, 3].map(appendOn);
    const count = () => acknowledged[0]!.size + acknowledged[1]!.size;

    await eventually('appends', () => count() > 200);
    for (let round = 0; round < 2; round++) {
      await broker.kill('SIGKILL');
      await broker.restart();
      const before = count();
      await eventually('appends after the restart', () => count() > before + 200);
    }
    stop.abort();
    await Promise.all([...appending, ...reading]);
    await eventually('everything read', async () => {
      for (const partition of [0, 1]) {
        await reader
          .read({ partition, fromOffset: next[partition]!, maxRecords: 5_000, maxBytes: 1e9 })
          .then((chunk) => {
            for (const { value } of chunk.records) seen[partition]!.add(Buffer.from(value!).toString());
            next[partition] = chunk.nextOffset;
          })
          .catch(() => {});
      }
      return [0, 1].every((partition) =>
        [...acknowledged[partition]!].every((value) => seen[partition]!.has(value)),
      );
    });
    expect(stalls).toEqual([]);
    expect(reader.status()).toMatchObject({ state: 'running', assigned: [0, 1] });
    await Promise.all([writer.close(), reader.close()]);
  }, 120_000);

  it('fails appends in time, and holds a bounded number of them, when its broker hangs', async () => {
    const topic = await bench.topic(1);
    const connection = await KafkaConnection.open(
      { brokers: broker.brokers, clientId: 'test', requestTimeoutMs: 1_000 },
      silent,
    );
    const writer = connection.writer(
      { topic, source: 'events' },
      { deliveryTimeoutMs: 1_500, maxQueuedBytes: 10_000 },
    );
    await writer.append([record('before')]);
    await broker.kill('SIGSTOP');
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => writer.append([record('x'.repeat(1_000))])),
    );
    const names = results.map((result) => (result.status === 'rejected' ? result.reason.constructor : null));
    expect(names.filter((name) => name === AppendFailedError).length).toBeGreaterThan(5);
    expect(names.filter((name) => name === AppendQueueFullError).length).toBeGreaterThan(5);
    expect(names).not.toContain(null);
    await expect(writer.ends(0)).rejects.toThrow(KafkaUnreachableError);
    await broker.kill('SIGCONT');
    await eventually('appends again', () =>
      writer.append([record('after')]).then(
        () => true,
        () => false,
      ),
    );
    await eventually('nothing queued', () => writer.queuedBytes === 0);
    await connection.close();
  }, 120_000);

  it('says that it stalls when its broker hangs for too long', async () => {
    const topic = await bench.topic(1);
    const connection = await bench.connect();
    const stalls: string[] = [];
    const reader = await bench.reader(connection, topic, 1, {
      stallMs: 2_000,
      onStalled: (error) => stalls.push(error.message),
    });
    await broker.kill('SIGSTOP');
    await eventually('a stall', () => stalls.length > 0);
    expect(stalls).toEqual([expect.stringMatching(/stands still for 2000 ms/)]);
    await broker.kill('SIGCONT');
    await reader.close();
  }, 120_000);
});
