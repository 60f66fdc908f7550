/** The buffer, the files and their recovery, the choice of requests, and what is not told of keys. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { NOON_MS, payment, testRepo } from '../../embedded/testing/test-repo.ts';
import { ManualClock } from '../../engine/clock.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import type { FeatureAnswer } from '../feature-answer.ts';
import { Metrics } from '../metrics.ts';
import { DecisionLog, DecisionLogError, type DecisionLogSettings } from './decision-log.ts';
import type { DecidedRow, Decision } from './decision-record.ts';
import { KeyHash } from './key-hash.ts';
import { closedFiles, decisionsOf, loggedDecisions, openFiles } from './testing/logged-decisions.ts';

const HOUR_MS = 3_600_000;
/** Nothing is written but by `flush`. */
const UNASKED_MS = 1_000_000;
const SECRET = 'a secret of this test';

let directory: string;
let clock: ManualClock;
let metrics: Metrics;
let lines: Record<string, unknown>[];
let logger: Logger;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-decisions-'));
  clock = new ManualClock(NOON_MS);
  metrics = new Metrics();
  lines = [];
  logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function open(settings: Partial<DecisionLogSettings> = {}): Promise<DecisionLog> {
  const all = { directory, sample: 1, secret: null, writeEveryMs: UNASKED_MS, ...settings };
  const log = await DecisionLog.open(all, { metrics, wallClock: clock, logger });
  onTestFinished(() => log.close());
  return log;
}

const reader: Decision['reader'] = {
  service: testRepo.services.get('card')!,
  output: [{ name: 'text', slot: 0 }],
};

function row(value: FeatureAnswer['value'] = 'x', more: Partial<DecidedRow> = {}): DecidedRow {
  const answer = { value, status: 'present', truncated: false, window: null } as const;
  const keys = new Map([['card', 'c1']]);
  return { place: 0, keys, request: {}, atMs: NOON_MS, event: null, answers: [answer], ...more };
}

/** By result. */
async function counted(): Promise<Record<string, number>> {
  const text = await metrics.text();
  const found = text.matchAll(/^millrace_decision_log_records_total\{result="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, result, n]) => [result!, Number(n)]));
}

const waiting = async (): Promise<number> =>
  Number(/^millrace_decision_log_buffer_bytes (\d+)$/m.exec(await metrics.text())![1]);

describe('the buffer', () => {
  test('holds no more than its bytes, and drops and counts the rest', async () => {
    const log = await open({ bufferBytesMax: 100_000 });
    for (let n = 0; n < 300; n++) log.add(`request-${n}`, reader, [row('x'.repeat(1_000))]);
    const bytes = await waiting();
    expect(bytes).toBeGreaterThan(90_000);
    expect(bytes).toBeLessThanOrEqual(100_000);
    expect(log.warnings).toEqual([expect.stringContaining('its buffer is full')]);
    await log.flush();
    expect(await waiting()).toBe(0);
    const { written, buffer_full } = await counted();
    expect(written! + buffer_full!).toBe(300);
    // What fits is what came first, and some 2.7 kB each.
    expect(written).toBeGreaterThan(30);
    expect(written).toBeLessThan(50);
    expect(lines[0]).toMatchObject({ result: 'buffer_full', omitted: 0 });
    expect(lines.length).toBeLessThan(20);

    log.add('request-later', reader, [row()]);
    await log.close();
    const requests = loggedDecisions(directory).map(({ request }) => request);
    expect(requests).toEqual([
      ...Array.from({ length: written! }, (_, n) => `request-${n}`),
      'request-later',
    ]);
    expect(log.warnings).toEqual([]);
  });

  test('weighs what is in arrays, maps, keys, request data and ids', async () => {
    const text = 'x'.repeat(10_000);
    const log = await open({ bufferBytesMax: 15_000 });
    log.add('request-1', reader, [
      row([text]),
      row(new Map([[text, 1]])),
      row(new Map([['k', [text]]])),
      row('x', { keys: new Map([['card', text]]) }),
      row('x', { request: { text } }),
      row('x', { event: { source: 's', id: text, timeMs: 1, ingested: null } }),
      row('the only one that fits'),
    ]);
    await log.flush();
    expect(await counted()).toEqual({ buffer_full: 6, written: 1 });
  });

  test('is written, and the file of an hour that is over closed, without being asked to', async () => {
    const log = await open({ writeEveryMs: 1 });
    log.add('request-1', reader, [row()]);
    const until = (what: string, condition: () => boolean) =>
      waitUntil(condition, { what, timeoutMs: 60_000 });
    const [name] = openFiles(directory);
    await until('the record is written', () => readFileSync(join(directory, name!)).length > 0);
    clock.advanceTo(NOON_MS + HOUR_MS);
    await until('the file is closed', () => closedFiles(directory).length === 1);
  });

  test('takes nothing once it is closed', async () => {
    const log = await open();
    await log.close();
    log.add('request-1', reader, [row()]);
    expect(await waiting()).toBe(0);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('loses a record that cannot be encoded, and none beside it', async () => {
    const log = await open();
    log.add('request-1', reader, [row('before'), row(Number.NaN), row('after')]);
    await log.close();
    expect(loggedDecisions(directory).map(({ features }) => features.text)).toEqual(['before', 'after']);
    expect(await counted()).toEqual({ written: 2, not_encodable: 1 });
  });
});

describe('values', () => {
  test('survive: 64-bit integers, doubles to the last bit, any text', async () => {
    const log = await open();
    const values = [
      -0,
      5e-324,
      0.1 + 0.2,
      1e21,
      2 ** 53,
      2n ** 63n - 1n,
      -(2n ** 63n),
      2n ** 53n,
      7n,
      2n ** 70n,
    ];
    log.add('request-1', reader, [
      ...values.map((value) => row(value)),
      row([-0, 2n ** 53n, null, true]),
      row(
        new Map<string, number | bigint>([
          ['__proto__', -0],
          ['"', 1n],
        ]),
      ),
      row('"\\\n\u2028\u0000🔑'),
      row('\ud800 alone'),
    ]);
    await log.close();
    const text = readFileSync(join(directory, closedFiles(directory)[0]!), 'utf8');
    const found = decisionsOf(text).map(({ features }) => features.text);
    expect(found.slice(0, 11)).toEqual([
      ...[-0, 5e-324, 0.1 + 0.2, 1e21, 2 ** 53],
      ...['9223372036854775807', '-9223372036854775808', '9007199254740992', 7, '1180591620717411303424'],
      [-0, '9007199254740992', null, true],
    ]);
    expect(Object.entries(found[11])).toEqual([
      ['__proto__', -0],
      ['"', 1],
    ]);
    expect(found.slice(12)).toEqual(['"\\\n\u2028\u0000🔑', '\ufffd alone']);
    // DuckDB reads -0 as an integer.
    expect(text).toContain('"text":-0.0}');
  });
});

describe('files', () => {
  test('end with their hour, also where nothing more is asked', async () => {
    const log = await open();
    expect(openFiles(directory)).toEqual([expect.stringMatching(/^2026-03-02T12-/)]);
    log.add('request-1', reader, [row()]);
    await log.flush();
    clock.advanceTo(NOON_MS + HOUR_MS - 1);
    await log.flush();
    expect(closedFiles(directory)).toEqual([]);
    clock.advanceTo(NOON_MS + HOUR_MS);
    await log.flush();
    log.add('request-2', reader, [row()]);
    // The second file begins when the first is closed, or is closing.
    await log.close();
    expect(closedFiles(directory)).toEqual([
      expect.stringMatching(/^2026-03-02T12-.*-1\.ndjson$/),
      expect.stringMatching(/^2026-03-02T13-.*-2\.ndjson$/),
    ]);
    expect(openFiles(directory)).toEqual([]);
    expect(loggedDecisions(directory).map(({ request }) => request)).toEqual(['request-1', 'request-2']);
  });

  test('are no larger than they may be, and have every record', async () => {
    const log = await open({ fileBytesMax: 20_000 });
    for (let n = 0; n < 200; n++) {
      log.add(`request-${n}`, reader, [row()]);
      if (n % 10 === 0) await log.flush();
    }
    await log.close();
    const sizes = closedFiles(directory).map((name) => readFileSync(join(directory, name)).length);
    expect(sizes.length).toBeGreaterThan(3);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(20_000);
    const requests = loggedDecisions(directory).map(({ request }) => request);
    expect(requests.sort()).toEqual(Array.from({ length: 200 }, (_, n) => `request-${n}`).sort());
  });

  test('are not there where nothing was logged', async () => {
    const log = await open();
    clock.advanceTo(NOON_MS + HOUR_MS);
    await log.flush();
    await log.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('cannot be made: an error names the directory', async () => {
    const path = join(directory, 'file');
    writeFileSync(path, '');
    await expect(open({ directory: join(path, 'below') })).rejects.toThrow(DecisionLogError);
    await expect(open({ directory: path })).rejects.toThrow(
      `the directory ${path} of the decision log cannot be used`,
    );
  });

  test('are refused by the disk: what was to be written is dropped and counted, and later it goes on', async () => {
    const log = await open();
    log.add('request-1', reader, [row()]);
    await log.flush();
    rmSync(directory, { recursive: true });
    clock.advanceTo(NOON_MS + HOUR_MS);
    log.add('request-2', reader, [row()]);
    await log.flush();
    expect(await counted()).toEqual({ written: 1, disk_refused: 1 });
    expect(log.warnings).toEqual(['answers are missing in the decision log: ENOENT']);
    expect(lines).toContainEqual(expect.objectContaining({ result: 'disk_refused', reason: 'ENOENT' }));
    mkdirSync(directory);
    log.add('request-3', reader, [row()]);
    await log.close();
    expect(loggedDecisions(directory).map(({ request }) => request)).toEqual(['request-3']);
    expect(log.warnings).toEqual([]);
  });
});

describe('files left open', () => {
  const LINE = '{"request":"whole"}\n';
  const leave = (place: string, content: string | Buffer, n = 1): string => {
    const name = `2026-03-02T11-${place}-${String(n).padStart(16, '0')}-1.ndjson`;
    writeFileSync(join(directory, `${name}.open`), content);
    return name;
  };
  /** As the files of this process name it. */
  async function ownPlace(): Promise<string> {
    const log = await open();
    const [, place] = /^[^-]+-[^-]+-[^-]+-([0-9a-f]{8})-/.exec(openFiles(directory)[0]!)!;
    await log.close();
    return place!;
  }

  test.each([
    ['nothing', '', null],
    ['half a line', '{"requ', null],
    ['a line and a half', `${LINE}{"requ`, LINE],
    ['whole lines', LINE + LINE, LINE + LINE],
    [
      'what a power failure leaves',
      Buffer.concat([Buffer.from(LINE), Buffer.alloc(4_096), Buffer.from(LINE)]),
      LINE,
    ],
  ])('by a process that is gone: %s', async (_, content, kept) => {
    const name = leave(await ownPlace(), content);
    await open();
    expect(closedFiles(directory)).toEqual(kept === null ? [] : [name]);
    expect(openFiles(directory)).toHaveLength(1);
    if (kept !== null) expect(readFileSync(join(directory, name), 'utf8')).toBe(kept);
  });

  test('by one that lives are not touched, by one that is gone found when another hour begins, too', async () => {
    const one = await open();
    one.add('request-1', reader, [row()]);
    await one.flush();
    const [name] = openFiles(directory);
    appendFileSync(join(directory, name!), 'half');
    const content = readFileSync(join(directory, name!), 'utf8');
    const two = await open();
    two.add('request-2', reader, [row()]);
    const gone = leave(name!.split('-')[3]!, LINE);
    clock.advanceTo(NOON_MS + HOUR_MS);
    await two.flush();
    expect(openFiles(directory)).toContain(name);
    expect(closedFiles(directory)).toContain(gone);
    expect(readFileSync(join(directory, name!), 'utf8')).toBe(content);
  });

  test('elsewhere are taken for abandoned two hours after their last line', async () => {
    const now = Date.now() / 1_000;
    const old = leave('00000000', LINE, 1);
    const recent = leave('00000000', LINE, 2);
    utimesSync(join(directory, `${old}.open`), now - 7_300, now - 7_300);
    utimesSync(join(directory, `${recent}.open`), now - 7_100, now - 7_100);
    await open();
    expect(closedFiles(directory)).toEqual([old]);
    expect(openFiles(directory)).toContain(`${recent}.open`);
  });

  test('and others of that kind are left alone', async () => {
    for (const name of ['mine.ndjson.open', '2026-03-02T11-short-1.ndjson.open', 'x.open'])
      writeFileSync(join(directory, name), 'half');
    await open();
    expect(closedFiles(directory)).toEqual([]);
    expect(readdirSync(directory)).toHaveLength(4);
  });
});

describe('a share of the requests', () => {
  const ids = Array.from({ length: 4_000 }, (_, n) => `request-${n}`);
  async function logged(sample: number): Promise<Set<string>> {
    const log = await open({ sample });
    for (const id of ids) log.add(id, reader, [row(), row()]);
    await log.close();
    const records = loggedDecisions(directory);
    rmSync(directory, { recursive: true });
    for (const record of records) expect(record.sample).toBe(sample);
    const requests = new Set<string>(records.map(({ request }) => request));
    expect(records).toHaveLength(2 * requests.size);
    return requests;
  }

  test('is the same requests in every process, with all their rows', async () => {
    const quarter = await logged(0.25);
    expect(quarter.size).toBeGreaterThan(850);
    expect(quarter.size).toBeLessThan(1_150);
    expect(await logged(0.25)).toEqual(quarter);
    // Whoever is in the smaller share is in the larger one.
    expect([...quarter].filter((id) => !ids.includes(id))).toEqual([]);
    const half = await logged(0.5);
    expect([...quarter].every((id) => half.has(id))).toBe(true);
  });
});

describe('keys', () => {
  test('are hashed as openssl and Python do it', () => {
    const hash = new KeyHash(SECRET);
    // printf 'card:4929' | openssl dgst -sha256 -hmac 'a secret of this test'
    expect(hash.of('card', '4929')).toBe('2c311fccf74ca3c93ed4145c7239f2bc71c221b237aa4cad1bb22e7a59df0360');
    // hmac.new('a secret of this test'.encode(), 'card:ключ'.encode(), 'sha256').hexdigest()
    expect(hash.of('card', 'ключ')).toBe('d2274c67aa1ea74fa8834cad0a1ec1d651f68d29bffd1ebe1025281252961bb7');
    expect(hash.secretId).toBe('0270eb4f');
    expect(hash.of('shop', '4929')).not.toBe(hash.of('card', '4929'));
    expect(new KeyHash(`${SECRET}.`).secretId).not.toBe(hash.secretId);
  });

  test('are nowhere in the files where they are hashed, nor in log, metrics and warnings', async () => {
    const CARD = 'sEcReT-card';
    const SHOP = 'sEcReT-shop';
    const it = await TestEngine.open({ decisionLog: { directory, sample: 1, secret: SECRET }, logger });
    onTestFinished(() => it.close());
    const event = payment({ id: 'event-1', card: CARD, shop: SHOP });
    await it.push('payments', [payment({ card: CARD, shop: SHOP })]);
    const entities = { card: CARD, shop: SHOP };
    const request = { amount: 3, mood: 'good' };
    const answered = [
      await it.read('decision', { entities, request }),
      await it.read('card', {
        entities: { card: CARD },
        event: { source: 'payments', data: event },
        ingest: true,
      }),
      await it.post('/v1/services/decision/features/batch', { rows: [{ entities, request }, { entities }] }),
    ];
    expect(answered.map(({ status }) => status)).toEqual([200, 200, 200]);
    await it.read('decision', { entities: { card: CARD, shop: SHOP.repeat(500) }, request });
    const text = (await it.get('/metrics')).body;
    await it.engine.close();
    const files = closedFiles(directory).map((name) => readFileSync(join(directory, name), 'utf8'));
    const records = loggedDecisions(directory);
    expect(records).toHaveLength(3);
    const hash = new KeyHash(SECRET);
    expect(records[0].entities).toEqual({ card: hash.of('card', CARD), shop: hash.of('shop', SHOP) });
    // Labels are joined by it.
    expect(records[1].event).toMatchObject({ id: 'event-1', ingested: 'recorded' });
    for (const told of [files.join(), closedFiles(directory).join(), JSON.stringify(lines), text])
      expect(told).not.toContain('sEcReT');
  });
});

test('what waits is in the file when the engine has closed, and /readyz tells what is missing', async () => {
  const it = await TestEngine.open({
    decisionLog: { directory, sample: 1, secret: null, bufferBytesMax: 1 },
  });
  expect(await it.read('card', { entities: { card: 'c1' } })).toMatchObject({ status: 200 });
  expect((await it.get('/readyz')).body.warnings).toEqual([
    'answers are missing in the decision log: its buffer is full',
  ]);
  await it.close();
});
