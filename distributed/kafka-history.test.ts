/**
 * Training sets from topics: the same as from a file of the events that the topics held when it was begun. What this does not
 * show: the command and processes that are killed (test/training-log.test.ts).
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { expect, onTestFinished, test } from 'vitest';
import type { LogHistoryProgress } from '../archive/log-history.ts';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { serializeEvents } from '../ingest/decoding/testing/serialized-events.ts';
import { isHistoryLog } from '../offline/history-log.ts';
import { type TrainingFileOptions, trainingSetFile } from '../offline/make-training-set.ts';
import { describeWithServices, sharedServices } from '../services/index.ts';
import * as definitions from '../test/fixtures/trades/features.ts';
import { type KafkaHistoryOptions, kafkaHistory } from './kafka-history.ts';
import { type TestDeployment, until } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const BASE_MS = Date.UTC(2026, 10, 1);
const PARTITIONS = 3;

describeWithServices(['kafka', 'redis', 'registry'], `training sets from topics (TEST_SEED=${SEED})`, () => {
  const { open } = testDeployments();
  const random = new SeededRandom(SEED);
  let ids = 0;

  const tradesOf = (count: number): EventRow[] =>
    Array.from({ length: count }, () => ({
      ...{ id: ids++, at: BASE_MS + random.below(2_000) * 600_000, account: `a${random.below(9)}` },
      ...{ symbol: `s${random.below(4)}`, amount: random.below(1_000) / 8 },
    }));
  const quotesOf = (count: number): EventRow[] =>
    Array.from({ length: count }, () => ({
      ...{ quote: ids++, quoted_at: BASE_MS + random.below(2_000) * 600_000 },
      ...{ symbol: `s${random.below(4)}`, price: random.below(400) / 4 },
    }));

  class Case {
    readonly dir = mkdtempSync(join(tmpdir(), 'millrace-history-'));
    readonly trades: EventRow[] = [];
    readonly quotes: EventRow[] = [];
    readonly deployment: TestDeployment;

    static async open(options: { readonly partitions?: number } = {}): Promise<Case> {
      const all = { definitions: Object.values(definitions), partitions: PARTITIONS, ...options };
      return new Case(await open({ ...all, startMs: BASE_MS + 30 * 86_400_000 }));
    }

    private constructor(deployment: TestDeployment) {
      this.deployment = deployment;
      onTestFinished(() => rmSync(this.dir, { recursive: true, force: true }));
    }

    async produce(source: 'trades' | 'quotes', events: readonly EventRow[]): Promise<void> {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const own = events.filter((_, i) => i % PARTITIONS === partition);
        await this.deployment.produce(
          source,
          partition,
          own.map((event) => ({ value: JSON.stringify(event) })),
        );
      }
    }

    history(options: Partial<KafkaHistoryOptions> = {}) {
      const { kafka, group } = this.deployment.processOptions([]);
      return kafkaHistory({ kafka, group, ...options });
    }

    /** As CSV, with the metadata beside it. */
    async train(
      name: string,
      history: TrainingFileOptions['history'],
      options: Partial<TrainingFileOptions> = {},
    ): Promise<{
      readonly text: string;
      readonly metadata: Record<string, unknown>;
      readonly summary: Awaited<ReturnType<typeof trainingSetFile>>;
    }> {
      const spine = join(this.dir, 'spine.ndjson');
      if (!existsSync(spine)) {
        const rows = Array.from({ length: 80 }, () => ({
          ...{ account: `a${random.below(10)}`, symbol: `s${random.below(5)}`, lots: random.below(4) },
          ...{ note: 'n', timestamp: new Date(BASE_MS + random.below(2_200) * 600_000).toISOString() },
        }));
        writeFileSync(spine, ndjson(rows));
      }
      const out = join(this.dir, `${name}.csv`);
      const { repo } = this.deployment;
      const summary = await trainingSetFile({
        ...{ repo, service: 'both', spine, out, history, memoryBytes: 2 ** 29, threads: 1 },
        ...options,
      });
      const metadata = JSON.parse(
        JSON.parse(readFileSync(`${out}.metadata.json`, 'utf8'))['millrace.history'],
      );
      return { text: readFileSync(out, 'utf8'), metadata, summary };
    }

    /** From files of the same events. */
    async twin(): Promise<string> {
      const history = { trades: join(this.dir, 'trades.ndjson'), quotes: join(this.dir, 'quotes.ndjson') };
      writeFileSync(history.trades, ndjson(this.trades));
      writeFileSync(history.quotes, ndjson(this.quotes));
      return (await this.train('twin', history)).text;
    }

    /** Consumer groups of this deployment. */
    async groups(): Promise<string[]> {
      const { groups } = await this.deployment.admin.listGroups();
      return groups.map(({ groupId }) => groupId).filter((id) => id.includes(this.deployment.id));
    }
  }

  const ndjson = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

  test('the same as from files; groups and their offsets stay as they were, and what is no event is told', async () => {
    const it = await Case.open();
    it.trades.push(...tradesOf(900));
    it.quotes.push(...quotesOf(500));
    await it.produce('trades', it.trades);
    await it.produce('quotes', it.quotes);
    await it.deployment.produce('trades', 1, [
      { value: 'no JSON' },
      { key: 'a1', value: null },
      { value: JSON.stringify({ id: 'x' }) },
      { value: JSON.stringify({ ...tradesOf(1)[0], at: BASE_MS + 400 * 86_400_000 }) },
    ]);
    // The same event twice: it counts once, as online.
    await it.produce('trades', it.trades.slice(0, 50));
    const ingest = await it.deployment.start(['ingest']);
    const { group } = it.deployment.processOptions([]);
    const topic = it.deployment.topicOf('trades');
    const groupId = `${group}.trades`;
    const before = await it.deployment.admin.fetchOffsets({ groupId, topics: [topic] });
    const {
      groups: [memberBefore],
    } = await it.deployment.admin.describeGroups([groupId]);
    const groupsBefore = (await it.groups()).sort();

    const seen: LogHistoryProgress[] = [];
    const made = await it.train('kafka', it.history({ onProgress: (progress) => seen.push(progress) }));

    expect(made.text).toBe(await it.twin());
    expect((await it.groups()).sort()).toEqual(groupsBefore);
    const {
      groups: [memberAfter],
    } = await it.deployment.admin.describeGroups([groupId]);
    expect(memberAfter!.members.map(({ memberId }) => memberId)).toEqual(
      memberBefore!.members.map(({ memberId }) => memberId),
    );
    expect(memberAfter!.state).toBe('Stable');
    // Those who ingest may have committed meanwhile; never less.
    const after = await it.deployment.admin.fetchOffsets({ groupId, topics: [topic] });
    for (const [i, { offset }] of before[0]!.partitions.entries())
      expect(Number(after[0]!.partitions[i]!.offset)).toBeGreaterThanOrEqual(Number(offset));
    await ingest.close();

    expect(Object.fromEntries(made.summary.logged.get('trades')!.refused)).toEqual({
      undecodable: 2,
      breaks_schema: 1,
      too_far_in_future: 1,
    });
    expect(made.summary.histories.get('trades')!.events).toBe(950);
    expect(made.summary.histories.get('quotes')!.events).toBe(500);
    const ends = await it.deployment.ends('trades');
    expect(made.metadata).toMatchObject({
      trades: { events: 950, log: { offsets: ends.map((end) => [0, end]), gone: 0 } },
    });
    expect(seen.at(-1)).toEqual({ source: 'quotes', records: 1_454, total: 1_454 });
    // Nothing of it is left but the files.
    expect(readdirSync(it.dir).filter((name) => name.endsWith('.work'))).toEqual([]);
  });

  test('stopped in the midst it goes on to the ends seen first: what came meanwhile is not there', async () => {
    const it = await Case.open();
    it.trades.push(...tradesOf(3_000));
    it.quotes.push(...quotesOf(300));
    await it.produce('trades', it.trades);
    await it.produce('quotes', it.quotes);
    const stop = new AbortController();
    let read = 0;
    const stopped = it.train(
      'kafka',
      it.history({
        signal: stop.signal,
        onProgress: ({ records }) => {
          read = records;
          if (records > 0) stop.abort(new Error('stopped here'));
        },
      }),
    );
    await expect(stopped).rejects.toThrow('stopped here');
    expect(read).toBeLessThan(3_300);
    const work = join(it.dir, 'kafka.csv.work');
    const query = await ArchiveQuery.open();
    const kept = await query.positions(join(work, 'history-log'), 'trades');
    // What was read is there.
    expect(kept.length).toBeGreaterThanOrEqual(read);
    expect(await it.groups()).toEqual([]);

    await it.produce('trades', tradesOf(400));
    await it.produce('quotes', quotesOf(100));
    const first: number[] = [];
    const made = await it.train(
      'kafka',
      it.history({ onProgress: ({ records, total }) => first.push(records, total) }),
    );
    expect(first.slice(0, 2)).toEqual([kept.length, 3_300]);
    expect(made.summary.resumed).toBe(true);
    expect(made.text).toBe(await it.twin());
  });

  test('what has been read is read no more, not even where there is no broker any more', async () => {
    const it = await Case.open();
    it.trades.push(...tradesOf(100));
    it.quotes.push(...quotesOf(100));
    await it.produce('trades', it.trades);
    await it.produce('quotes', it.quotes);
    const work = join(it.dir, 'w');
    const sources = ['trades', 'quotes'].map((name) => it.deployment.repo.sources.get(name)!);
    await it.history().writeTo(work, sources);
    await it.deployment.admin.deleteTopics({
      topics: sources.map(({ name }) => it.deployment.topicOf(name)),
    });
    const nobody = kafkaHistory({ kafka: { brokers: ['127.0.0.1:1'], clientId: 'test' } });
    const again = await nobody.writeTo(work, sources);
    expect(again.get('trades')).toMatchObject({ gone: 0, refused: new Map() });
    expect(isHistoryLog(nobody)).toBe(true);
    const query = await ArchiveQuery.open();
    expect(await query.positions(work, 'trades')).toHaveLength(100);
  });

  test('markers of transactions at the end, aborted ones and an open one: it ends where readers do', async () => {
    const it = await Case.open({ partitions: 1 });
    const topic = it.deployment.topicOf('trades');
    const producer = it.deployment.kafka.producer({
      ...{ transactionalId: `tx-${topic}`, idempotent: true, maxInFlightRequests: 1 },
    });
    await producer.connect();
    onTestFinished(() => producer.disconnect());
    const send = async (events: readonly EventRow[], end: 'commit' | 'abort' | null): Promise<void> => {
      const transaction = await producer.transaction();
      const timestamp = String(it.deployment.clock.nowMs());
      await transaction.send({
        topic,
        messages: events.map((event) => ({ value: JSON.stringify(event), timestamp })),
      });
      if (end !== null) await transaction[end]();
    };
    it.trades.push(...tradesOf(40));
    await send(it.trades, 'commit');
    await send(tradesOf(30), 'abort');
    await until('markers are written', async () => (await it.deployment.ends('trades'))[0] === 72);
    await send(tradesOf(20), null);
    it.quotes.push(...quotesOf(9));
    const file = join(it.dir, 'quotes.ndjson');
    writeFileSync(file, ndjson(it.quotes));
    const made = await it.train('kafka', { trades: it.history(), quotes: file });
    expect(made.metadata).toMatchObject({ trades: { events: 40, log: { offsets: [[0, 72]] } } });
    expect(made.metadata.quotes).not.toHaveProperty('log');
    expect(made.text).toBe(await it.twin());
  });

  test('what the topic has lost is told, and a topic without events has none', async () => {
    const it = await Case.open();
    it.trades.push(...tradesOf(300));
    await it.produce('trades', it.trades);
    await it.deployment.admin.deleteTopicRecords({
      topic: it.deployment.topicOf('trades'),
      partitions: [{ partition: 1, offset: '60' }],
    });
    it.trades.splice(0, 300, ...it.trades.filter((_, i) => i % 3 !== 1 || Math.floor(i / 3) >= 60));
    const made = await it.train('kafka', it.history());
    expect(made.summary.logged.get('trades')!.gone).toBe(60);
    expect(made.summary.logged.get('quotes')).toMatchObject({ gone: 0 });
    expect(made.summary.histories.get('quotes')!.events).toBe(0);
    expect(made.metadata).toMatchObject({ trades: { events: 240, log: { gone: 60 } } });
    expect(made.text).toBe(await it.twin());
  });

  test('records with schemas are read by the registry; without one it says what is missing', async () => {
    const it = await Case.open();
    it.trades.push(...tradesOf(60));
    it.quotes.push(...quotesOf(60));
    const url = await sharedServices().registry();
    const client = SchemaRegistryClient.newClient({ baseURLs: [url] });
    const source = it.deployment.repo.sources.get('trades')!.definition;
    for (const [i, format] of (['avro', 'protobuf'] as const).entries()) {
      const rows = it.trades.slice(30 * i, 30 * (i + 1));
      // A subject has one format.
      const subject = { ...source, topic: `${source.topic}-${format}` };
      const values = await serializeEvents({ client, format, rows, source: subject });
      await it.deployment.produce(
        'trades',
        i,
        values.map((value) => ({ value: Buffer.from(value) })),
      );
    }
    await it.produce('quotes', it.quotes);
    await expect(it.train('none', it.history())).rejects.toThrow(
      /schema id \(\d+\): start with --registry URL.*The first is at offset 0/s,
    );
    const lost = await it.train('lost', it.history({ onLostSchema: 'continue' }));
    expect(Object.fromEntries(lost.summary.logged.get('trades')!.refused)).toEqual({ unknown_schema: 60 });
    const made = await it.train('kafka', it.history({ registry: { urls: [url] } }));
    expect(made.text).toBe(await it.twin());
  });

  test('no broker, no topic', async () => {
    const it = await Case.open();
    await it.deployment.admin.deleteTopics({ topics: [it.deployment.topicOf('quotes')] });
    await until('the topic is gone', async () => {
      return !(await it.deployment.admin.listTopics()).includes(it.deployment.topicOf('quotes'));
    });
    await expect(it.train('none', it.history())).rejects.toThrow(/there is no topic .*quotes/);
    const nobody = it.history({ kafka: { brokers: ['127.0.0.1:1'], clientId: 'test' } });
    await expect(it.train('nobody', nobody)).rejects.toThrow('no Kafka broker answers at 127.0.0.1:1');
    expect(await it.groups()).toEqual([]);
  });
});
