/** Decisions and their labels: what is joined, what is left out, and what is refused. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as arrow from 'apache-arrow';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  compileRepo,
  count,
  double,
  entity,
  featureService,
  featureView,
  integer,
  onDemandFeature,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';
import { KeyHash } from '../../serve/decision-log/key-hash.ts';
import { trainingSetFile } from '../make-training-set.ts';
import {
  type DecisionTrainingFileOptions,
  decisionTrainingSet,
  decisionTrainingSetFile,
} from './decision-training-set.ts';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 1);
const SECRET = 'sixteen letters.';

const payments = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: string(), amount: double() },
  eventTime: 'at',
  eventId: 'id',
});
const clicks = streamSource({
  name: 'clicks',
  columns: { click: string(), at: timestamp(), card: string() },
  eventTime: 'at',
  eventId: 'click',
});
const card = entity('card');
const spend = featureView({
  ...{ name: 'spend', source: payments, entity: card },
  features: { payments_30d: count().over('30d'), amount_30d: sum('amount').over('30d') },
});
const browsing = featureView({
  ...{ name: 'browsing', source: clicks, entity: card },
  features: { clicks_30d: count().over('30d') },
});
const share = onDemandFeature({
  ...{ name: 'share', type: 'double', request: { amount: double() } },
  inputs: { all: spend.feature.amount_30d },
  compute: ({ features, request }) => (features.all === 0 ? null : request.amount / features.all),
});
const repo = compileRepo([
  featureService({ name: 'fraud', features: [spend, share] }),
  featureService({ name: 'both', features: [spend, browsing] }),
]);
const identities = (service: string): object =>
  Object.fromEntries(repo.services.get(service)!.views.map(({ view }) => [view.name, view.namespace]));

type Json = Record<string, unknown>;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-labels-'));
  mkdirSync(join(dir, 'decisions'));
  records = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

let records: Json[];

/** Payments 1 to 6 on days 1 to 6, of two cards. */
const events = Array.from({ length: 6 }, (_, i) => ({
  ...{ id: i + 1, at: START_MS + (i + 1) * DAY_MS, card: i % 2 === 0 ? 'a' : 'b', amount: 10 * (i + 1) },
}));

/** A decision about a payment, at its time. */
function decide(id: number | null, change: Json = {}): void {
  const event = events.find((own) => own.id === id) ?? events[0]!;
  records.push({
    ...{ record: `r-${records.length}`, request: `q-${records.length}`, row: 0, service: 'fraud' },
    ...{ views: identities('fraud'), secret_id: null, entities: { card: event.card } },
    ...{ at_ms: event.at, answered_ms: event.at + 5 },
    event:
      id === null ? null : { source: 'payments', id: String(id), time_ms: event.at, ingested: 'recorded' },
    request_data: { amount: event.amount },
    features: { payments_30d: 70 + (id ?? 0), amount_30d: 0.5, share: null },
    statuses: { payments_30d: 'present', amount_30d: 'stale', share: 'error' },
    sample: 1,
    ...change,
  });
}

function file(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

const ndjson = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

const LABELS_CSV = `id,label_time,is_fraud
1,2026-01-05T00:00:00Z,0
1,2026-02-01T00:00:00Z,1
2,2026-01-20T00:00:00Z,1
9,2026-01-20T00:00:00Z,1
`;

async function made(more: Partial<DecisionTrainingFileOptions> = {}) {
  file('decisions/log.ndjson', ndjson(records));
  const out = join(dir, 'out.ndjson');
  const { decisions, training } = await decisionTrainingSetFile({
    ...{ repo, service: 'fraud', decisions: join(dir, 'decisions'), out },
    ...{ labels: file('labels.csv', LABELS_CSV), history: file('payments.ndjson', ndjson(events)) },
    ...more,
  });
  const rows = readFileSync(out, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Json);
  return { decisions, training, rows };
}

const labels = (rows: readonly Json[]): unknown => rows.map(({ id, is_fraud }) => [id, is_fraud]);

describe('decisions with labels', () => {
  test('are rows with the features of their time, and the latest label of their event', async () => {
    for (const { id } of events) decide(id);
    const { rows, decisions, training } = await made();
    expect(Object.keys(rows[0]!)).toEqual(
      'decision,id,decided_at,card,amount,label_time,is_fraud,payments_30d,amount_30d,share'.split(','),
    );
    expect(rows[0]).toEqual({
      ...{ decision: 'r-0', id: 1, decided_at: '2026-01-02T00:00:00.000000Z', card: 'a', amount: 10 },
      ...{
        label_time: '2026-02-01T00:00:00.000000Z',
        is_fraud: 1,
        payments_30d: 1,
        amount_30d: 10,
        share: 1,
      },
    });
    expect(labels(rows)).toEqual([
      [1, 1],
      [2, 1],
      [3, null],
      [4, null],
      [5, null],
      [6, null],
    ]);
    expect(decisions).toMatchObject({ records: 6, ofService: 6, rows: 6, repeated: 0, withoutEvent: 0 });
    expect(decisions.labels).toEqual({
      labelled: 2,
      unlabelled: 4,
      tooYoung: 0,
      withoutDecision: 1,
      tooLate: 0,
    });
    expect(training!.rows).toBe(6);
    // The same as of a spine of these payments.
    const spine = events.map(({ id, at, card: key, amount }) => ({
      id,
      timestamp: new Date(at).toISOString(),
      card: key,
      amount,
    }));
    const out = join(dir, 'spine.ndjson');
    await trainingSetFile({
      ...{
        repo,
        service: 'fraud',
        spine: file('spine-in.ndjson', ndjson(spine)),
        history: join(dir, 'payments.ndjson'),
        out,
      },
    });
    const features = (all: readonly Json[]): unknown =>
      all.map(({ payments_30d, amount_30d, share: own }) => [payments_30d, amount_30d, own]);
    const ofSpine = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    expect(features(rows)).toEqual(features(ofSpine));
  });

  test('are left out while a label may come, by the newest label or by --until', async () => {
    for (const { id } of events) decide(id);
    // The newest label is of February 1: 28 days before it is January 4, when payment 3 was decided.
    const window = { labelWindowMs: 28 * DAY_MS };
    const { rows, decisions } = await made(window);
    expect(labels(rows)).toEqual([
      [1, 0],
      [2, 1],
      [3, null],
    ]);
    // The second label of payment 1 came 30 days after it.
    expect(decisions.labels).toEqual({
      labelled: 2,
      unlabelled: 1,
      tooYoung: 3,
      withoutDecision: 1,
      tooLate: 1,
    });
    const later = await made({ ...window, untilMs: START_MS + (28 + 5) * DAY_MS });
    expect(labels(later.rows)).toEqual([
      [1, 0],
      [2, 1],
      [3, null],
      [4, null],
      [5, null],
    ]);
    // As it was known on January 6, the window or not.
    const early = await made({ untilMs: START_MS + 5 * DAY_MS });
    expect(labels(early.rows)).toEqual([
      [1, 0],
      [2, null],
      [3, null],
      [4, null],
      [5, null],
      [6, null],
    ]);
    expect(early.decisions.labels).toMatchObject({ labelled: 1, tooLate: 2 });
    const none = await made({
      ...window,
      labels: file('none.csv', 'id,label_time,is_fraud\n'),
      untilMs: START_MS + 30 * DAY_MS,
    });
    expect(labels(none.rows)).toEqual([
      [1, null],
      [2, null],
    ]);
  });

  test('are told to the millisecond', async () => {
    const atMs = events[0]!.at;
    decide(1);
    decide(2);
    const labelsAt = (ms: number): Partial<DecisionTrainingFileOptions> => ({
      labels: file('edge.csv', `id,label_time,is_fraud\n1,${ms},1\n`),
      labelWindowMs: 10 * DAY_MS,
    });
    const edge = atMs + 10 * DAY_MS;
    expect(labels((await made({ ...labelsAt(edge), untilMs: edge })).rows)).toEqual([[1, 1]]);
    // A millisecond too late; and known until a millisecond before.
    expect(labels((await made({ ...labelsAt(edge + 1), untilMs: edge + 1 })).rows)).toEqual([[1, null]]);
    await expect(made({ ...labelsAt(edge), untilMs: edge - 1 })).rejects.toThrow(
      /can be used: younger than the label window \(2\)/,
    );
    expect(labels((await made({ ...labelsAt(edge + 1), untilMs: edge })).rows)).toEqual([[1, null]]);
  });

  test('are one for each event: the first that was answered', async () => {
    decide(1, { record: 'later', answered_ms: START_MS + 2 * DAY_MS });
    decide(1, { record: 'first', answered_ms: START_MS + DAY_MS + 1 });
    decide(2);
    decide(null);
    const { rows, decisions } = await made();
    expect(rows.map(({ decision }) => decision)).toEqual(['first', 'r-2']);
    expect(decisions).toMatchObject({ repeated: 1, withoutEvent: 1, rows: 2 });
    // Without labels those about no event are rows as well.
    file('decisions/log.ndjson', ndjson(records));
    const whole = {
      repo,
      service: 'fraud',
      decisions: join(dir, 'decisions'),
      history: join(dir, 'payments.ndjson'),
    };
    const table = await decisionTrainingSet(whole);
    expect(table.numRows).toBe(3);
    expect(table.schema.fields.map(({ name }) => name)).not.toContain('is_fraud');
  });

  test('are left out where they cannot be computed again, each reason counted', async () => {
    decide(1);
    decide(2, { views: { spend: '0123456789abcdef' } });
    decide(3, { features: null });
    decide(4, { request_data: {} });
    decide(5, { secret_id: '00000000' });
    decide(6, { service: 'another' });
    records.push({
      ...records[0],
      record: 'unknown',
      event: { source: 'payments', id: '77', time_ms: START_MS, ingested: null },
    });
    const { rows, decisions } = await made();
    expect(rows.map(({ id }) => id)).toEqual([1]);
    expect(decisions).toMatchObject({ records: 7, ofService: 6 });
    expect(Object.fromEntries(decisions.leftOut)).toEqual({
      ...{ incomplete: 1, other_definitions: 1, no_secret: 1, event_not_in_history: 1, request_data: 1 },
    });
  });

  test('have their keys back with the secret', async () => {
    const hash = new KeyHash(SECRET);
    for (const { id, card: key } of events) {
      decide(id, { secret_id: hash.secretId, entities: { card: hash.of('card', key) } });
    }
    decide(null, { secret_id: hash.secretId, entities: { card: hash.of('card', 'nobody') } });
    const { rows, decisions } = await made({ secret: SECRET });
    expect(rows.map(({ card: key }) => key)).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(rows.at(-1)).toMatchObject({ payments_30d: 3, amount_30d: 120 });
    expect(Object.fromEntries(decisions.unknownKeys)).toEqual({ card: 1 });
  });

  test('have ties with the event they are about, and as of another moment none', async () => {
    const again = { ...events[0]!, id: 100 };
    decide(1);
    decide(2, { at_ms: events[0]!.at, entities: { card: 'a' } });
    const { rows } = await made({ history: file('tied.ndjson', ndjson([...events, again])) });
    expect(rows.map(({ id, payments_30d }) => [id, payments_30d])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });
});

describe('logged values', () => {
  test('are those that were answered; null where nothing can be learned from them', async () => {
    for (const { id } of events) decide(id);
    decide(null, { views: { spend: 'ffffffffffffffff' } });
    (records[0]!.statuses as Json).payments_30d = 'coarse';
    file('decisions/log.ndjson', ndjson(records));
    const out = join(dir, 'logged.ndjson');
    const { decisions, training } = await decisionTrainingSetFile({
      ...{ repo, service: 'fraud', decisions: join(dir, 'decisions/log.ndjson'), out },
      labels: file('labels.csv', LABELS_CSV),
    });
    const rows = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    expect(training).toBeNull();
    expect(
      rows.map(({ payments_30d, amount_30d, share: own, is_fraud }) => [
        payments_30d,
        amount_30d,
        own,
        is_fraud,
      ]),
    ).toEqual([71, 72, 73, 74, 75, 76].map((n) => [n, null, null, n < 73 ? 1 : null]));
    expect([...decisions.notLearnable].map(([name, statuses]) => [name, [...statuses]])).toEqual([
      ['amount_30d', [['stale', 6]]],
      ['share', [['error', 6]]],
    ]);
    expect(JSON.parse(readFileSync(`${out}.metadata.json`, 'utf8'))).toMatchObject({
      'millrace.values': 'logged',
    });
  });
});

describe('what is refused', () => {
  const csv = (content: string): Partial<DecisionTrainingFileOptions> => ({
    labels: file('other.csv', content),
  });

  test.each<[what: string, options: () => Partial<DecisionTrainingFileOptions>, message: RegExp]>([
    [
      'several labels without a time',
      () => csv('id,is_fraud\n1,0\n1,1\n2,0\n2,1\n3,0\n3,0\n'),
      /events with several labels: 2; name the column with the time of each/,
    ],
    [
      'several labels of one time',
      () => csv('id,label_time,is_fraud\n1,5,0\n1,5,1\n'),
      /events with several labels of one time \('label_time'\): 1/,
    ],
    [
      'no id',
      () => csv('payment,is_fraud\n1,0\n'),
      /There is no 'id' and no 'event_id'; name it \(--label-id\); the columns are 'payment', 'is_fraud'/,
    ],
    [
      'an id that is none',
      () => csv('id,is_fraud\nx,0\n'),
      /'id' is missing or not a.* in labels: 1 of them/,
    ],
    [
      'a time that is none',
      () => csv('id,label_time,is_fraud\n1,soon,0\n'),
      /'label_time' is missing or not a time \(ISO 8601 with a zone, or ms since 1970\) in labels: 1 of them/,
    ],
    ['no label', () => csv('id\n1\n'), /there is no column but 'id'/],
    [
      'a window without times',
      () => ({ ...csv('id,is_fraud\n1,0\n'), labelWindowMs: DAY_MS }),
      /a label window needs the time of the labels/,
    ],
    [
      'a window without labels',
      () => ({ ...csv('id,label_time,is_fraud\n'), labelWindowMs: DAY_MS }),
      /there are no labels: say until when there were none \(--until\)/,
    ],
    [
      'a column that is not there',
      () => ({ labelTime: 'known' }),
      /there is no column 'known', the time of a label \(--label-time\)/,
    ],
    [
      'a name that a decision has',
      () => csv('id,card,is_fraud\n1,a,0\n'),
      /'card' would be there twice, of a decision and of its label: .* \(--label-columns\)/,
    ],
    [
      'a name that a feature has',
      () => csv('id,share\n1,2\n'),
      /'share' would be there twice, as a column of the spine and as a feature/,
    ],
    [
      'another secret',
      () => ({
        decisions: file('decisions/other.ndjson', ndjson([{ ...records[0], secret_id: 'x' }])),
        secret: SECRET,
      }),
      /no decision of the service 'fraud' can be used: its keys are hashed with another secret \(1\)/,
    ],
    [
      'another service',
      () => ({ decisions: file('decisions/other.ndjson', ndjson([{ ...records[0], service: 'x' }])) }),
      /none of the 1 records is of the service 'fraud'/,
    ],
    [
      'a log that is none',
      () => ({ decisions: file('decisions/other.ndjson', 'no json\n') }),
      /other\.ndjson cannot be read/,
    ],
  ])('%s', async (_, options, message) => {
    for (const id of [1, 2, 3]) decide(id);
    await expect(made(options())).rejects.toThrow(message);
  });

  test('labels of columns that are chosen, under other names, and as a table', async () => {
    decide(1);
    const table = new arrow.Table({
      payment: arrow.vectorFromArray([1n, 1n], new arrow.Int64()),
      card: arrow.vectorFromArray(['a', 'a'], new arrow.Utf8()),
      known: arrow.vectorFromArray([START_MS, START_MS + 1], new arrow.TimestampMillisecond()),
      verdict: arrow.vectorFromArray(['clean', 'fraud'], new arrow.Utf8()),
    });
    const chosen = { labelId: 'payment', labelTime: 'known', labelColumns: ['verdict'] };
    const { rows } = await made({ labels: table, ...chosen });
    expect(rows).toMatchObject([{ id: 1, card: 'a', verdict: 'fraud' }]);
    expect(rows[0]).not.toHaveProperty('known');
  });

  test('decisions about events of several sources, unless one is named', async () => {
    const views = identities('both');
    decide(1, { service: 'both', views });
    decide(1, {
      service: 'both',
      views,
      event: { source: 'clicks', id: 'c', time_ms: START_MS, ingested: 'recorded' },
    });
    const history = {
      payments: file('payments.ndjson', ndjson(events)),
      clicks: file('clicks.ndjson', ndjson([{ click: 'c', at: START_MS, card: 'a' }])),
    };
    const both = { service: 'both', history };
    await expect(made(both)).rejects.toThrow(
      /events of several sources: name one of clicks, payments \(--event-source\)/,
    );
    const { rows, decisions } = await made({ ...both, eventSource: 'payments' });
    expect(rows).toMatchObject([{ id: 1, is_fraud: 1, clicks_30d: 1 }]);
    expect(decisions.withoutEvent).toBe(1);
    const ofClicks = await made({
      ...both,
      eventSource: 'clicks',
      labels: file('c.ndjson', ndjson([{ click: 'c', bot: true, score: 0.5, note: '007' }])),
    });
    expect(ofClicks.rows).toMatchObject([{ click: 'c', bot: true, score: 0.5, note: '007' }]);
    await expect(made({ ...both, eventSource: 'nothing' })).rejects.toThrow(
      /reads no source 'nothing' that has event ids/,
    );
  });
});

test('a run that was stopped is gone on with, unless labels are others', async () => {
  for (const { id } of events) decide(id);
  const options = {
    ...{ repo, service: 'fraud', out: join(dir, 'out.ndjson'), work: join(dir, 'work') },
    ...{ decisions: file('decisions/log.ndjson', ndjson(records)), labels: file('labels.csv', LABELS_CSV) },
    history: file('payments.ndjson', ndjson(events)),
  };
  const stopped = (): Promise<unknown> =>
    decisionTrainingSetFile({
      ...options,
      onProgress: ({ phase }) => {
        if (phase === 'writing') throw new Error('stopped');
      },
    });
  await expect(stopped()).rejects.toThrow('stopped');
  expect((await decisionTrainingSetFile(options)).training!.resumed).toBe(true);
  await expect(stopped()).rejects.toThrow('stopped');
  file('labels.csv', 'id,is_fraud\n3,1\n');
  expect((await decisionTrainingSetFile(options)).training!.resumed).toBe(false);
  expect(readFileSync(options.out, 'utf8')).toContain('"is_fraud":1');
});
