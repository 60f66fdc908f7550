/**
 * Retention that overtakes the processes of a deployment, under load: records go before they are applied, while who ingests
 * them is suspended and then killed. Afterwards every process says which, no value that may lack some of them says that it
 * is complete, and every value is the oracle's over all the other records.
 */
import { expect, it, onTestFinished } from 'vitest';
import { SeededRandom } from '../engine/testing/random.ts';
import { describeWithServices, sharedServices, startRedis } from '../services/index.ts';
import { CARDS, Events } from './cluster/events.ts';
import { Ledger } from './cluster/ledger.ts';
import { Load } from './cluster/load.ts';
import { Producer } from './cluster/producer.ts';
import { Reader } from './cluster/reader.ts';
import { RunningRoles } from './cluster/running-roles.ts';
import { served } from './cluster/served.ts';
import { PARTITIONS } from './cluster/topics.ts';
import { Truth } from './cluster/truth.ts';
import { until } from './cluster/until.ts';
import { postJson } from './millrace-process.ts';
import { kafkaClient, type TopicRecord } from './topic-content.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const WRITERS = 3;

/** As `/v1/gaps` lists it. */
interface Gap {
  readonly source: string;
  readonly partition: number;
  readonly from_offset: number;
  readonly to_offset: number;
}

const isIn = (gap: Gap, { partition, offset }: TopicRecord): boolean =>
  gap.partition === partition && gap.from_offset <= offset && offset < gap.to_offset;

/** How long brokers keep a fetch waiting for records at most (`GroupTimings.maxWaitMs`), several times over. */
const FETCHES_OVER_MS = 250;

/**
 * A process that is suspended waits for an answer of the broker, which comes with the first records of a partition: it
 * would apply them when it goes on, even behind a gap that another has passed. So these are of a key that nobody asks for,
 * and they go on until the broker must have answered: what it answers with is read a while after it has acknowledged the
 * first of them, when others could be there already.
 */
async function answerPendingFetches(
  brokers: readonly string[],
  topic: string,
  events: Events,
): Promise<void> {
  const client = kafkaClient(brokers).producer({ allowAutoTopicCreation: false });
  await client.connect();
  const endMs = performance.now() + FETCHES_OVER_MS;
  do {
    const messages = Array.from({ length: PARTITIONS }, (_, partition) => ({
      partition,
      value: JSON.stringify({ ...events.payment(), card: 'last', shop: null }),
    }));
    await client.send({ topic, acks: -1, messages });
  } while (performance.now() < endMs);
  await client.disconnect();
}

describeWithServices(
  ['kafka', 'redis'],
  `records that are gone before they are applied (TEST_SEED=${SEED})`,
  () => {
    it('are said to be missing by every process, in every value that may lack them', async () => {
      const brokers = await sharedServices().kafka();
      const redis = await startRedis({ appendonly: 'everysec' });
      onTestFinished(() => redis.stop());
      const roles = await RunningRoles.start({ name: 'log-gap', brokers, redis: redis.url });
      const random = new SeededRandom(SEED);
      const events = new Events(new SeededRandom(random.uint32()));
      const ledger = new Ledger();
      const parts = { events, ledger, random: new SeededRandom(random.uint32()) };
      const producer = new Producer({ topics: roles.topics, ...parts });
      const reader = new Reader({ servers: roles.serve, ...parts });
      const begin = () => {
        const load = new Load({ servers: roles.serve, ...parts });
        const running = [
          ...Array.from({ length: WRITERS }, () => load.write()),
          ...[producer.run(load, brokers), reader.run(load)],
        ];
        for (const part of running) part.catch(() => (load.stopped = true));
        const end = async (): Promise<void> => {
          load.stopped = true;
          await Promise.all(running);
        };
        return { load, end };
      };

      const { payments } = roles.topics;
      const before = begin();
      await before.load.more(40);
      await before.end();
      // None is suspended in the midst of a chunk: states would hold records that no watermark has passed, and count them.
      await roles.heal(events);
      for (const process_ of roles.ingest) process_.signal('SIGSTOP');
      await answerPendingFetches(brokers, payments, events);
      const { load, end } = begin();
      await load.more(40);
      const ends = await roles.admin.fetchTopicOffsets(payments);
      // Before they go, for the oracle: all up to these ends.
      await roles.readTopics();
      const partitions = ends
        .filter(({ partition }) => partition !== 0)
        .sort((a, b) => a.partition - b.partition)
        .map(({ partition, high }) => ({ partition, offset: String(Number(high) - random.below(8)) }));
      await roles.admin.deleteTopicRecords({ topic: payments, partitions });
      const [killed, woken] = roles.ingest;
      await killed!.crash();
      woken!.signal('SIGCONT');
      await load.more(40);
      await roles.serve[0]!.crash();
      await load.more(20);
      await end();
      await roles.heal(events);

      // All servers say the same, and it is what was deleted.
      const [gaps, others] = (await Promise.all(
        roles.serve.map(async (server) => {
          const { gaps } = JSON.parse(await server.get('/v1/gaps')) as { gaps: Gap[] };
          return gaps.sort((a, b) => a.partition - b.partition);
        }),
      )) as [Gap[], Gap[]];
      expect(others).toEqual(gaps);
      expect(gaps.map(({ source, partition, to_offset }) => [source, partition, to_offset])).toEqual(
        partitions.map(({ partition, offset }) => ['payments', partition, Number(offset)]),
      );
      for (const process_ of roles.all) {
        await until(`${process_.name} sees the gaps`, async () => {
          return (await process_.metric('millrace_log_gaps_open', /source="payments"/)) === gaps.length;
        });
        expect(await process_.metric('millrace_log_gaps_open', /source="visits"/)).toBe(0);
        const { status, warnings } = JSON.parse(await process_.get('/readyz'));
        expect(status, process_.name).toBe('ready');
        for (const { partition, from_offset: from, to_offset: to } of gaps) {
          const warning = `source payments, partition ${partition}: records ${from} to ${to - 1}, `;
          expect(warnings).toContainEqual(expect.stringContaining(warning));
        }
      }

      // Nothing else is missing, nothing of the gaps is counted.
      const records = await roles.readTopics();
      const lost = records.payments.filter((record) => gaps.some((gap) => isIn(gap, record)));
      const sizes = gaps.map(({ from_offset: from, to_offset: to }) => to - from);
      expect(lost).toHaveLength(sizes.reduce((sum, size) => sum + size, 0));
      expect(lost.length).toBeGreaterThan(0);
      const truth = new Truth();
      truth.add(
        'payments',
        records.payments.filter((record) => !lost.includes(record)),
      );
      truth.add('visits', records.visits);
      const statuses = async (payments: readonly string[]): Promise<number> => {
        let compared = 0;
        for (const server of roles.serve) {
          for (const [service, keys] of [
            ['card', [...CARDS, 'nobody']],
            ['shop', ['corner', 'mall', 'kiosk']],
          ] as const) {
            const rows = await served(server, service, keys, truth.lastMs);
            for (const [i, { features, metadata }] of rows.entries()) {
              const key = keys[i]!;
              expect(features, `${service} ${key}, TEST_SEED=${SEED}`).toEqual(
                truth.features(service, key, truth.lastMs),
              );
              for (const [feature, { status, missing }] of Object.entries(metadata.features)) {
                const isOfVisits = feature.startsWith('visits') || feature.startsWith('pages');
                expect(isOfVisits ? ['present', 'empty'] : payments, feature).toContain(status);
                expect(missing !== undefined, feature).toBe(!isOfVisits && !payments.includes('present'));
                compared++;
              }
            }
          }
        }
        return compared;
      };
      // On event time append times tell nothing of a gap's events: every window may reach back to them.
      expect(await statuses(['catching_up'])).toBeGreaterThan(300);
      expect(reader.wrong).toEqual([]);

      const acknowledged = await postJson(`${roles.serve[1]!.url}/v1/gaps/acknowledge`, {
        source: 'payments',
      });
      expect(acknowledged).toEqual({ status: 200, body: { acknowledged: gaps.length } });
      for (const process_ of roles.all) {
        await until(`${process_.name} knows that the gaps do not matter`, async () => {
          return (await process_.metric('millrace_log_gaps_open')) === 0;
        });
      }
      await roles.heal(events);
      await statuses(['present', 'empty']);
      expect(roles.all.flatMap(({ defects }) => defects)).toEqual([]);
      console.log(
        `${lost.length} records of ${gaps.length} partitions were gone; ${truth.total} events counted`,
      );
    }, 240_000);
  },
);
