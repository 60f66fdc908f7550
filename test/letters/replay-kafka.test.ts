/**
 * `millrace dlq replay` over a real Kafka and Redis, killed with SIGKILL at random moments, again and again on the same
 * letters, while what it appends is applied. Each record counts once, also when Redis is emptied afterwards.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../../services/index.ts';
import { until } from '../cluster/until.ts';
import { fixture, MillraceProcess, millrace, millraceBinary, startRole } from '../millrace-process.ts';
import { kafkaClient } from '../topic-content.ts';
import { Swipes, served, total } from './swipes.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const PARTITIONS = 2;
const SWIPES = 4_000;
/** Kills until so many have left copies behind that the next run appends again. */
const REPEATED_LEAST = 2;
const KILLS = { least: 6, most: 30 };
/** A run that is not killed takes longer, with the start of the program and the joining of its groups. */
const EARLY_MS = 3_000;

describeWithServices(['kafka', 'redis'], `millrace dlq replay over Kafka (TEST_SEED=${SEED})`, () => {
  let brokers: string[];
  let redis: RedisServer;

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, 240_000);
  afterAll(() => redis?.stop());

  it('is killed at random and started again on the same letters: each record counts once', async () => {
    const random = new SeededRandom(SEED);
    const topics = `letters-${randomUUID()}`;
    const topic = `${topics}.swipes`;
    const kafkaOnly = ['--features', fixture('mendable'), '--kafka', brokers.join(','), '--group', topics];
    const shared = [...kafkaOnly, '--redis', redis.url];
    const creating = ['--create-topics', '--partitions', String(PARTITIONS)];
    const broken = { env: { TEST_TOPICS: topics } };
    const mended = { env: { TEST_TOPICS: topics, TEST_MENDED: '1' } };

    const former = await startRole('up', [...shared, ...creating], broken);
    const swipes = new Swipes(random, SWIPES);
    const kafka = kafkaClient(brokers);
    const producer = kafka.producer();
    await producer.connect();
    // Past the door, which would stamp them: a stamp tells repetitions apart as well.
    await producer.send({
      topic,
      acks: -1,
      messages: swipes.all.map((swipe, i) => ({ partition: i % PARTITIONS, value: JSON.stringify(swipe) })),
    });
    await producer.disconnect();
    await until('the topic is applied', async () => total(await served(former.url), 'plain_30d') === SWIPES);
    expect(await served(former.url)).toEqual(swipes.features(false));
    expect(await former.process.end('SIGTERM')).toEqual({ code: 0, signal: null });

    const up = await startRole('up', shared, mended);
    const admin = kafka.admin();
    await admin.connect();
    const copies = async (): Promise<number> => {
      const ends = await admin.fetchTopicOffsets(topic);
      return ends.reduce((sum, { high }) => sum + Number(high), 0) - SWIPES;
    };
    const dlq = (action: string, ...flags: string[]): string[] => ['dlq', action, ...kafkaOnly, ...flags];
    /** Letters that are not marked as replayed. */
    const left = async (): Promise<number> => {
      const { stdout, stderr } = await millrace(dlq('replay', '--dry-run'), mended);
      const match = /^(\d+) dead letters? would be replayed\.$/m.exec(stdout);
      expect(match, stdout + stderr).not.toBeNull();
      return Number(match![1]);
    };
    let pending = await left();
    expect(pending).toBe(swipes.unlucky);

    const kills: string[] = [];
    let repeated = 0;
    while (kills.length < KILLS.least || (repeated < REPEATED_LEAST && kills.length < KILLS.most)) {
      const before = await copies();
      const worker = new MillraceProcess(process.execPath, [millraceBinary, ...dlq('replay')], mended);
      const early = random.chance(0.25);
      if (early) {
        await delay(random.below(EARLY_MS));
      } else {
        // Most kills in the first batches, so that there are letters left.
        const target = random.pick([1, 1, 1, random.between(1, pending)]);
        await until('it has appended something', async () => {
          return worker.child.exitCode !== null || (await copies()) - before >= target;
        });
      }
      await worker.end('SIGKILL');
      const appended = (await copies()) - before;
      const now = appended === 0 ? pending : await left();
      // What it appended, but did not mark.
      const again = appended - (pending - now);
      expect(again).toBeGreaterThanOrEqual(0);
      if (again > 0 && now > 0) repeated++;
      kills.push(
        `${early ? 'early' : 'while it appended'}: ${appended} appended, ${again} of them not marked`,
      );
      pending = now;
      if (pending === 0) break;
    }
    console.log([`${pending} of ${swipes.unlucky} letters are left`, ...kills].join('\n'));
    expect(repeated).toBeGreaterThan(0);

    const last = await millrace(dlq('replay'), mended);
    expect(last.stdout + last.stderr).toContain(
      pending === 0 ? 'There is nothing to replay.' : `${pending} record`,
    );
    expect(last.code).toBe(0);
    expect(await left()).toBe(0);
    // Some are in the topic twice, or more often.
    expect(await copies()).toBeGreaterThan(swipes.unlucky);
    const right = swipes.features(true);
    const settles = async (): Promise<void> => {
      await until('all is applied', async () => {
        const lag = await fetch(`${up.url}/metrics`).then((answer) => answer.text());
        if (!/^millrace_consumer_lag_records\{.*\} 0$/m.test(lag)) return false;
        return total(await served(up.url), 'careful_ever') >= SWIPES;
      });
      expect(await served(up.url)).toEqual(right);
    };
    await settles();

    // From the beginning, by the mended version: it counts the originals, and none of the copies.
    const client = new Redis(redis.url);
    await client.flushall();
    await client.quit();
    await settles();
    expect((await millrace(dlq('replay'), mended)).stdout).toContain('There is nothing to replay.');
    await admin.disconnect();
    expect(await up.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  }, 400_000);
});
