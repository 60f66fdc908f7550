/**
 * Two whole days of card payments, with all their history, over Kafka and Redis: two members of the consumer group,
 * compaction beside them, event time. Each day is pushed to its end, then every payment of it is asked about as of
 * that payment, in batches.
 *
 * The first day has published values. Of the second day nobody published any: they are counted here straight from the
 * file, and so are those of the first day, which shows that the counting is right.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestDeployment } from '../distributed/testing/test-deployment.ts';
import { WallClock } from '../engine/clock.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import * as cardFraud from '../examples/card-fraud/features.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { CARD_FILES } from './card-transactions.ts';
import { countedPayments, type Payment } from './counted-payments.ts';
import { csvEvents, csvRows, dataPresent } from './published-data.ts';

const DAYS = [
  { day: '2018-04-10', payments: 9_672, published: 9_672 },
  { day: '2018-04-11', payments: 9_622, published: 0 },
];
const EVENTS = 105_437;
const DAY_MS = 86_400_000;
const CHUNK = 2_000;
/** Rows per batch request. */
const BATCH = 500;
const PARTITIONS = 4;
/** Upstream adds and takes off floats in a running sum. */
const TOLERANCE = 1e-9;

type Features = Readonly<Record<string, number | null>>;

function compareRow(id: number, got: Features, expected: Readonly<Record<string, number>>): void {
  expect(Object.keys(got).sort(), `features of transaction ${id}`).toEqual(Object.keys(expected).sort());
  for (const [name, value] of Object.entries(expected)) {
    const own = got[name];
    const equal =
      typeof own === 'number' &&
      (/_AVG_|_RISK_/.test(name) ? Math.abs(own - value) <= TOLERANCE : own === value);
    if (!equal) expect.fail(`transaction ${id}: ${name} is ${own}, expected ${value}`);
  }
}

describe.skipIf(!dataPresent(...CARD_FILES))('with the published card payments', () => {
  describeWithServices(['kafka', 'redis'], 'two days over Kafka and Redis', () => {
    let redis: RedisServer;
    let deployment: TestDeployment;
    beforeAll(async () => {
      const brokers = await sharedServices().kafka();
      redis = await startRedis({ appendonly: 'everysec' });
      deployment = await TestDeployment.open({
        definitions: Object.values(cardFraud),
        brokers,
        redisUrl: redis.url,
        partitions: PARTITIONS,
        topicConfig: { 'message.timestamp.type': 'LogAppendTime' },
        process: {
          clock: 'event',
          wallClock: new WallClock(),
          // The keys of these days have some twenty rows each.
          shape: { leafBytesMax: 160, tailRowsMax: 4 },
          pacing: { foldAfterMs: 6 * 3_600_000 },
        },
      });
    }, 180_000);
    afterAll(async () => {
      await deployment?.close();
      await redis?.stop();
    });

    test('every payment is answered as published, and as counted from the file', async () => {
      const serve = await deployment.start(['serve']);
      const compact = await deployment.start(['compact']);
      const ingests = [await deployment.start(['ingest']), await deployment.start(['ingest'])];
      const published = new Map<number, Record<string, number>>();
      for await (const { TRANSACTION_ID, ...row } of csvRows(CARD_FILES[1])) {
        const values = Object.entries(row).map(([name, text]): [string, number] => [name, Number(text)]);
        published.set(Number(TRANSACTION_ID), Object.fromEntries(values));
      }

      const counting = countedPayments();
      const asked: { event: DecodedEvent; expected: Record<string, number> }[] = [];
      let waiting: DecodedEvent[] = [];
      let events = 0;
      let publishedRows = 0;
      const push = async (): Promise<void> => {
        const { status, body } = await serve.push(
          'card_transactions',
          waiting.map(({ row }) => toJsonValue(row)),
          'durable',
        );
        expect({ status, ...body }).toEqual({
          status: 200,
          accepted: waiting.length,
          duplicates: 0,
          rejected: [],
        });
        events += waiting.length;
        waiting = [];
      };
      const askOfDay = async ({
        day,
        payments,
        published: expected,
      }: (typeof DAYS)[number]): Promise<void> => {
        await push();
        await serve.caughtUp();
        let rows = 0;
        for (let at = 0; at < asked.length; at += BATCH) {
          const batch = asked.slice(at, at + BATCH);
          const { status, body } = await serve.post('/v1/services/card_fraud/features/batch', {
            rows: batch.map(({ event: { row, eventTimeMs } }) => ({
              at: eventTimeMs,
              event: { source: 'card_transactions', data: toJsonValue(row) },
            })),
          });
          expect(status).toBe(200);
          batch.forEach(({ event, expected: counted }, i) => {
            const { features, metadata, error } = body.rows[i];
            // Named only where a value is not what it seems.
            expect({ metadata, error }).toEqual({});
            const id = Number(event.row.transaction_id);
            compareRow(id, features, counted);
            const row = published.get(id);
            if (row !== undefined) {
              compareRow(id, features, row);
              publishedRows++;
            }
            rows++;
          });
        }
        expect({ day, rows, publishedRows }).toEqual({ day, rows: payments, publishedRows: expected });
        asked.length = 0;
        publishedRows = 0;
      };

      const ends = DAYS.map(({ day }) => Date.parse(`${day}T00:00:00Z`) + DAY_MS);
      let dayIndex = 0;
      for await (const event of csvEvents(CARD_FILES[0], deployment.repo.sources.get('card_transactions')!)) {
        if (event.eventTimeMs >= ends[dayIndex]!) {
          await askOfDay(DAYS[dayIndex]!);
          dayIndex++;
          if (dayIndex === DAYS.length) break;
        }
        const expected = counting(event.row as unknown as Payment);
        if (event.eventTimeMs >= ends[dayIndex]! - DAY_MS) asked.push({ event, expected });
        waiting.push(event);
        if (waiting.length === CHUNK) await push();
      }
      expect(events).toBe(EVENTS);

      const applied = await Promise.all(
        ingests.map((ingest) =>
          ingest.metric('millrace_events_applied_total', { view: 'customer_spend', outcome: 'applied' }),
        ),
      );
      expect(applied.reduce((sum, n) => sum + n, 0)).toBe(EVENTS);
      // Both members of the group had work.
      expect(Math.min(...applied)).toBeGreaterThan(EVENTS / 10);
      const compacted = await compact.metric('millrace_compaction_states_total', { outcome: 'compacted' });
      expect(compacted).toBeGreaterThan(1_000);
      console.log(`${applied.join(' + ')} events applied, ${compacted} states compacted meanwhile`);
    }, 600_000);
  });
});
