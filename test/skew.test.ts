/**
 * Proof of no skew on the card-fraud example: an engine with an archive and a decision log, asked over HTTP in every way there
 * is; `millrace skew` finds every value equal. And it can fail: a value that is changed, an event that is missing, a definition
 * that is another one in its values only.
 *
 * Another seed: `PROPERTY_SEED=123456`.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Embedded, openEmbedded } from '../embedded/runtime.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import * as cardFraud from '../examples/card-fraud/features.ts';
import { DuckDb, text } from '../offline/duckdb.ts';
import { type LoggedDecision, loggedDecisions } from '../serve/decision-log/testing/logged-decisions.ts';
import { checkout, millrace, postJson, temporaryDirectory } from './millrace-process.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const SECRET = 'a secret of the test';
const FEATURES = join(checkout, 'examples/card-fraud');
const DAY_MS = 86_400_000;
const SOURCE = 'card_transactions';

interface Payment {
  readonly transaction_id: number;
  readonly tx_datetime: string;
  readonly customer_id: number;
  readonly terminal_id: number;
  readonly tx_amount: number;
  readonly tx_fraud: number;
}

let root: string;
const archive = () => join(root, 'archive');
const decisions = () => join(root, 'decisions');
/** Payments as they were pushed or recorded. */
const pushed: Payment[] = [];
/** Ids of payments that were decided before they were pushed. */
const decidedFirst = new Set<string>();
/** Requests about payments that were never recorded. */
let neverRecorded = 0;

/** Asks in every way there is; what is recorded is applied before the next question. */
class Asking {
  readonly #url: string;
  readonly #random: SeededRandom;

  constructor(url: string, random: SeededRandom) {
    this.#url = url;
    this.#random = random;
  }

  #payment(atMs: number): Payment {
    const random = this.#random;
    return {
      transaction_id: pushed.length * 2 + random.pick([0, 1]),
      tx_datetime: new Date(atMs).toISOString(),
      customer_id: random.below(9),
      terminal_id: random.below(6),
      tx_amount: random.below(20_000) / 100,
      tx_fraud: random.chance(0.2) ? 1 : 0,
    };
  }

  /** Later than every question so far: nothing that is recorded then is late for any of them. */
  #nowMs(): number {
    const sinceMs = Date.now();
    while (Date.now() === sinceMs);
    return Date.now();
  }

  #pastMs(): number {
    return Date.now() - 60_000 - this.#random.below(30) * 600_000;
  }

  async push(payments: readonly Payment[]): Promise<void> {
    const { status, body } = await postJson(`${this.#url}/v1/sources/${SOURCE}/events?wait=applied`, {
      events: payments,
    });
    if (status !== 200) throw new Error(JSON.stringify(body));
  }

  async pushPast(count: number): Promise<void> {
    const startMs = Date.now() - 45 * DAY_MS;
    const payments: Payment[] = [];
    for (let i = 0; i < count; i++) {
      payments.push(this.#payment(startMs + Math.floor((i * 44 * DAY_MS) / count / 60_000) * 60_000));
      pushed.push(payments.at(-1)!);
    }
    await this.push(payments);
  }

  async #ask(path: string, body: unknown): Promise<void> {
    const { status, body: answer } = await postJson(`${this.#url}/v1/services/${path}`, body);
    if (status !== 200) throw new Error(JSON.stringify(answer));
  }

  #row(): { entities?: object; event?: object; at?: number; request?: object } {
    const random = this.#random;
    const entities = { customer_id: random.below(11), terminal_id: random.below(7) };
    const known = random.pick(pushed.slice(-40));
    switch (random.below(4)) {
      case 0:
        return { entities };
      case 1:
        return { entities, at: this.#pastMs() };
      case 2:
        // A payment that is there, asked about as of its own time, or of a later one.
        return Date.parse(known.tx_datetime) > Date.now() - DAY_MS / 2
          ? {
              event: { source: SOURCE, data: known },
              ...(random.chance(0.3) ? { at: Date.parse(known.tx_datetime) + 1 } : {}),
            }
          : { entities };
      default:
        neverRecorded++;
        return {
          event: {
            source: SOURCE,
            data: { ...this.#payment(this.#nowMs()), transaction_id: 900_000 + neverRecorded },
          },
        };
    }
  }

  async once(): Promise<void> {
    const random = this.#random;
    const features = random.chance(0.2)
      ? { features: ['TX_DURING_NIGHT', 'TERMINAL_ID_RISK_7DAY_WINDOW'] }
      : {};
    switch (random.below(6)) {
      case 5: {
        // In one millisecond, of one customer: a question about the first must not count the second.
        const first = this.#payment(this.#nowMs());
        pushed.push(first);
        const second = { ...this.#payment(Date.parse(first.tx_datetime)), customer_id: first.customer_id };
        pushed.push(second);
        await this.push([second, first]);
        await this.#ask('card_fraud/features', { event: { source: SOURCE, data: first } });
        break;
      }
      case 0: {
        const payment = this.#payment(this.#nowMs());
        pushed.push(payment);
        await this.#ask('card_fraud/features', { event: { source: SOURCE, data: payment }, ingest: true });
        // Applied behind it, so it is as well.
        await this.push([payment]);
        break;
      }
      case 1: {
        // Decided first, pushed afterwards.
        const payment = this.#payment(this.#nowMs());
        decidedFirst.add(`${payment.transaction_id}`);
        await this.#ask('card_fraud/features', { event: { source: SOURCE, data: payment }, ...features });
        pushed.push(payment);
        await this.push([payment]);
        break;
      }
      case 2:
        await this.#ask('card_fraud/features/batch', {
          rows: [this.#row(), this.#row(), this.#row()],
          ...features,
        });
        break;
      case 3: {
        const entities = { customer_id: random.below(11), terminal_id: random.below(7) };
        await this.#ask('card_decision/features', {
          entities,
          ...(random.chance(0.5)
            ? { request: { tx_amount: random.below(1_000) / 8 } }
            : { request: { tx_amount: 0 } }),
        });
        break;
      }
      default:
        await this.#ask('card_fraud/features', { ...this.#row(), ...features });
    }
  }
}

async function serving(secret: string | null, work: (asking: Asking) => Promise<void>): Promise<void> {
  const engine: Embedded = await openEmbedded({
    repo: compileRepo(Object.values(cardFraud)),
    dataDir: join(root, 'data'),
    archive: { directory: archive(), everyMs: 100 },
    decisionLog: { directory: decisions(), sample: 1, secret },
    flush: false,
  });
  try {
    await engine.app.listen({ host: '127.0.0.1', port: 0 });
    await engine.ready();
    const { port } = engine.app.server.address() as { port: number };
    const url = `http://127.0.0.1:${port}`;
    await work(new Asking(url, new SeededRandom(SEED + (secret === null ? 0 : 1))));
    const isArchived = async (): Promise<void> => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).toMatch(
        /^millrace_archive_lag_records\{source="card_transactions",partition="0"\} 0$/m,
      );
    };
    await vi.waitFor(isArchived, { timeout: 30_000, interval: 50 });
  } finally {
    await engine.close();
  }
}

/** `millrace skew` of the service, with its report. */
async function skew(
  args: readonly string[],
  {
    secret,
    features = FEATURES,
    history = archive(),
    log = decisions(),
  }: {
    readonly secret?: string;
    readonly features?: string;
    readonly history?: string;
    readonly log?: string;
  } = {},
  // biome-ignore lint/suspicious/noExplicitAny: a report of every shape is looked into.
): Promise<{ code: number | null; stdout: string; stderr: string; report: any }> {
  const file = join(temporaryDirectory(), 'report.json');
  const run = await millrace(
    ['skew', '--features', features, '--decisions', log, '--history', history, '--report', file, ...args],
    secret === undefined ? {} : { env: { MILLRACE_DECISION_LOG_SECRET: secret } },
  );
  let report: unknown = null;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // It has not come so far.
  }
  return { ...run, report };
}

const FRAUD = ['--service', 'card_fraud'];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'millrace-skew-'));
  await serving(null, async (asking) => {
    await asking.pushPast(500);
    for (let i = 0; i < 150; i++) await asking.once();
  });
  await serving(SECRET, async (asking) => {
    for (let i = 0; i < 150; i++) await asking.once();
  });
}, 120_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe(`no skew (seed ${SEED})`, () => {
  it('is found in any feature, of plain and hashed keys', async () => {
    const { code, stdout, stderr, report } = await skew([...FRAUD, '--lag', '0'], { secret: SECRET });
    expect(stderr + stdout).toContain('no skew: every value is equal');
    expect(code).toBe(0);
    const logged = loggedDecisions(decisions()).filter(({ service }) => service === 'card_fraud');
    expect(report.match_rate).toBe(1);
    expect(report.decisions.of_service).toBe(logged.length);
    expect(report.decisions.left_out).toEqual({ event_not_in_history: neverRecorded });
    expect(report.decisions.computed).toBe(logged.length - neverRecorded);
    expect(report.decisions.missing_events).toBe(0);
    expect(report.knows_arrivals).toBe(true);
    for (const { feature, compared, equal, differing, not_compared, late } of report.features) {
      const of = logged.filter(({ features }) => Object.hasOwn(features, feature)).length;
      expect([feature, compared, differing, late, not_compared]).toEqual([feature, equal, 0, 0, {}]);
      expect(compared).toBeLessThanOrEqual(of);
      expect(compared).toBeGreaterThan(150);
    }
  }, 60_000);

  it('is found in on-demand features with request data', async () => {
    const { code, report } = await skew(['--service', 'card_decision', '--lag', '0'], { secret: SECRET });
    expect(code).toBe(0);
    expect(report.match_rate).toBe(1);
    expect(report.decisions.computed).toBe(report.decisions.of_service);
    expect(report.decisions.computed).toBeGreaterThan(20);
  }, 60_000);

  it('takes the same sample for a seed, and says what it did not look at', async () => {
    const [one, same, other] = [
      await skew([...FRAUD, '--rows', '50', '--seed', '3']),
      await skew([...FRAUD, '--rows', '50', '--seed', '3']),
      await skew([...FRAUD, '--rows', '50', '--seed', '4']),
    ];
    for (const { code, report } of [one, same, other]) {
      expect(code).toBe(0);
      expect(report.decisions.sampled).toBe(50);
      expect(report.decisions.left_out.no_secret).toBeGreaterThan(50);
    }
    expect({ ...same.report, finished: 0 }).toEqual({ ...one.report, finished: 0 });
    expect(one.stdout).toContain('its keys are hashed and no secret is given (MILLRACE_DECISION_LOG_SECRET)');
  }, 90_000);
});

/** The closed files of the log with their records changed. */
function changedLog(change: (record: LoggedDecision, i: number) => void): string {
  const directory = join(temporaryDirectory(), 'changed');
  mkdirSync(directory);
  loggedDecisions(decisions()).forEach((record, i) => {
    change(record, i);
    writeFileSync(join(directory, 'all.ndjson'), `${JSON.stringify(record)}\n`, { flag: 'a' });
  });
  return directory;
}

const COUNT = 'CUSTOMER_ID_NB_TX_30DAY_WINDOW';
const MEAN = 'CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW';

describe('skew', () => {
  it('is shown where one value of one record is another', async () => {
    let changed: LoggedDecision;
    const log = changedLog((record) => {
      if (changed !== undefined || record.service !== 'card_fraud' || record.event !== null) return;
      if (record.features[MEAN] == null || record.secret_id !== null) return;
      record.features[MEAN] *= 1 + 1e-7;
      changed = record;
    });
    const run = await skew([...FRAUD, '--lag', '0'], { secret: SECRET, log });
    expect(run.code).toBe(1);
    expect(run.stdout).toContain('worst differences');
    const [, ...others] = [
      null,
      ...run.report.features.filter((own: { feature: string }) => own.feature !== MEAN),
    ];
    for (const { differing } of others) expect(differing).toBe(0);
    const own = run.report.features.find(({ feature }: { feature: string }) => feature === MEAN);
    expect(own).toMatchObject({
      differing: 1,
      worst: { record: changed!.record, request: changed!.request },
    });
    expect(own.worst.relative).toBeCloseTo(1e-7, 12);
    expect(run.report.match_rate).toBe(own.equal / own.compared);
    expect(Number(own.worst.logged)).toBe(changed!.features[MEAN]);
    expect(run.stdout).toContain(changed!.record);
    // Within the tolerance, and where a share of differences is allowed, it passes.
    expect((await skew([...FRAUD, '--tolerance', '1e-6'], { secret: SECRET, log })).code).toBe(0);
    expect((await skew([...FRAUD, '--fail-below', '0.99'], { secret: SECRET, log })).code).toBe(0);
    expect((await skew([...FRAUD, '--fail-below', '0'], { secret: SECRET, log })).code).toBe(0);
  }, 120_000);

  it('is told from what may be late, and no event is late that the answer had', async () => {
    // A payment that was decided first and pushed afterwards counted in its own answer.
    let changed: LoggedDecision;
    const first = new Set(decidedFirst);
    const log = changedLog((record) => {
      if (changed !== undefined || record.service !== 'card_fraud' || record.secret_id !== null) return;
      // The first record of such a payment: later questions may be about it as well.
      if (record.event === null || !first.delete(record.event.id)) return;
      if (record.features[COUNT] === undefined) return;
      record.features[COUNT]++;
      changed = record;
    });
    const differing = async (args: readonly string[], history?: string): Promise<unknown> => {
      const options = { secret: SECRET, log, ...(history === undefined ? {} : { history }) };
      const { report } = await skew([...FRAUD, ...args], options);
      const own = report.features.find(({ feature }: { feature: string }) => feature === COUNT);
      return [own.differing, own.late, report.match_rate < 1];
    };
    expect(await differing(['--lag', '0'])).toEqual([1, 0, true]);
    expect(await differing(['--lag', '1h'])).toEqual([0, 1, false]);
    // Nor is a repeat that comes later: it does not count.
    const repeated = join(temporaryDirectory(), 'repeated.parquet');
    const all = text(join(archive(), `source=${SOURCE}/**/*.parquet`));
    await copyHistory(repeated, 'true', {
      rows: `SELECT * REPLACE (_offset + 1000000 AS _offset, now() AS _appended_at) FROM read_parquet(${all}, hive_partitioning = false, union_by_name = true)`,
    });
    expect(await differing(['--lag', '0'], repeated)).toEqual([1, 0, true]);
  }, 120_000);

  it('is not looked for in values that are none', async () => {
    const statuses = ['stale', 'timed_out', 'catching_up', 'coarse', 'error'];
    let n = 0;
    const log = changedLog((record) => {
      if (record.service !== 'card_fraud' || !Object.hasOwn(record.features, COUNT)) return;
      if (n >= statuses.length || record.secret_id !== null || record.event !== null) return;
      record.features[COUNT] = 1_000_000;
      record.statuses[COUNT] = statuses[n++];
    });
    const { code, report, stdout } = await skew(FRAUD, { secret: SECRET, log });
    expect(code).toBe(0);
    const own = report.features.find(({ feature }: { feature: string }) => feature === COUNT);
    expect(own.not_compared).toEqual(Object.fromEntries(statuses.map((status) => [status, 1])));
    expect(stdout).toMatch(/stale 1/);
  }, 60_000);

  it('is shown where the history lacks an event, also of one that its call recorded', async () => {
    // Of the last one recorded: later questions may have counted it as well.
    const logged = loggedDecisions(decisions());
    const recorded = logged.findLast(
      ({ service, event }) => service === 'card_fraud' && event?.ingested === 'recorded',
    );
    const history = join(temporaryDirectory(), 'lacks.parquet');
    await copyHistory(history, `transaction_id <> ${recorded.event.id}`);
    const { code, report, stdout } = await skew([...FRAUD, '--lag', '0'], { secret: SECRET, history });
    expect(code).toBe(1);
    expect(report.decisions.missing_events).toBeGreaterThan(0);
    const own = report.features.find(({ feature }: { feature: string }) => feature === COUNT);
    expect(own.differing).toBeGreaterThan(0);
    expect(stdout).toContain('recorded and not in the history: is it complete?');
  }, 60_000);

  it('is shown of a definition that is another in its values only', async () => {
    const features = join(temporaryDirectory(), 'features');
    cpSync(FEATURES, features, { recursive: true });
    const definition = readFileSync(join(features, 'features.ts'), 'utf8');
    const changed = definition.replace(
      'Number(features.frauds) / features.payments',
      '(Number(features.frauds) / features.payments) * 1.000001',
    );
    expect(changed).not.toBe(definition);
    writeFileSync(join(features, 'features.ts'), changed);
    const { code, report } = await skew(FRAUD, { secret: SECRET, features });
    expect(code).toBe(1);
    for (const { feature, differing } of report.features)
      expect([feature, differing > 0]).toEqual([feature, feature.startsWith('TERMINAL_ID_RISK')]);
  }, 60_000);

  it('is not looked for under other definitions, which is no proof', async () => {
    const features = join(temporaryDirectory(), 'features');
    cpSync(FEATURES, features, { recursive: true });
    const definition = readFileSync(join(features, 'features.ts'), 'utf8');
    writeFileSync(join(features, 'features.ts'), definition.replaceAll("over('30d'", "over('31d'"));
    const { code, stdout, report } = await skew(FRAUD, { secret: SECRET, features });
    expect(code).toBe(1);
    expect(stdout).toContain('nothing to compare');
    expect(report.decisions.left_out.other_definitions).toBeGreaterThan(200);
    expect((await skew([...FRAUD, '--fail-below', '0'], { secret: SECRET, features })).code).toBe(0);
  }, 60_000);

  it('is told from events that arrived after the answer, where the history knows', async () => {
    // As if a payment of each customer, of the time before all questions, had come in the end.
    const history = join(temporaryDirectory(), 'late.parquet');
    await copyHistory(history, 'true', {
      rows: `SELECT 800000 + c AS transaction_id, now() - INTERVAL 5 DAY AS tx_datetime, c AS customer_id, 99 AS terminal_id, 1.0 AS tx_amount, 0 AS tx_fraud,
               now() + INTERVAL 1 HOUR AS _appended_at, 0 AS _partition, 8000000 + c AS _offset FROM range(9) t(c)`,
    });
    const { code, report, stdout } = await skew([...FRAUD, '--lag', '0'], { secret: SECRET, history });
    expect(code).toBe(0);
    const own = report.features.find(({ feature }: { feature: string }) => feature === COUNT);
    expect(own.late).toBeGreaterThan(50);
    expect(own.differing).toBe(0);
    expect(own.match_rate).toBe(1);
    expect(stdout).toMatch(/late: .* differing where events arrived after the answer/);
    expect(stdout).toMatch(/every value that was compared is equal, and [\d,]+ that differ may be late/);
    // Where it does not know, they are differences.
    const blind = join(temporaryDirectory(), 'blind.parquet');
    await copyHistory(blind, 'true', { from: history, without: '_appended_at' });
    const other = await skew([...FRAUD, '--lag', '0'], { secret: SECRET, history: blind });
    expect(other.code).toBe(1);
    expect(other.stdout).toContain('the history does not say when events arrived');
  }, 90_000);
});

/** The archive, or a file, as one Parquet file: rows that fulfil a condition, and others added. */
async function copyHistory(
  file: string,
  condition: string,
  { from, rows, without }: { readonly from?: string; readonly rows?: string; readonly without?: string } = {},
): Promise<void> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: '' });
  try {
    const source = text(from ?? join(archive(), `source=${SOURCE}/**/*.parquet`));
    const columns = without === undefined ? '*' : `* EXCLUDE (${without})`;
    await db.run(
      `COPY (SELECT ${columns} FROM read_parquet(${source}, hive_partitioning = false, union_by_name = true) WHERE ${condition}
         ${rows === undefined ? '' : `UNION ALL BY NAME ${rows}`}) TO ${text(file)} (FORMAT parquet)`,
    );
  } finally {
    db.close();
  }
}

describe('a training set of the decisions', () => {
  const train = (args: readonly string[], out: string) =>
    millrace(['training-set', '--features', FEATURES, ...FRAUD, '--out', out, '--prefix', 'f_', ...args], {
      env: { MILLRACE_DECISION_LOG_SECRET: SECRET },
    });

  it('has the labels of their payments, and the same values computed as logged', async () => {
    const folder = temporaryDirectory();
    const labels = join(folder, 'labels.csv');
    const known = pushed.filter(({ transaction_id }) => transaction_id % 3 > 0);
    const rows = known.map(
      (own) => `${own.transaction_id},${new Date(Date.now() + 1).toISOString()},${own.tx_fraud}`,
    );
    writeFileSync(labels, `transaction_id,label_time,is_fraud\n${rows.join('\n')}\n`);
    const ofLog = ['--decisions', decisions(), '--labels', labels];
    const [computed, logged] = [join(folder, 'computed.ndjson'), join(folder, 'logged.ndjson')];
    const one = await train([...ofLog, '--history', archive()], computed);
    expect(one.code, one.stderr).toBe(0);
    const other = await train([...ofLog, '--logged'], logged);
    expect(other.code, other.stderr).toBe(0);
    const read = (file: string): Map<number, Record<string, unknown>> => {
      const all = readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      return new Map(all.map((row) => [row.transaction_id, row]));
    };
    const own = read(computed);
    const answered = read(logged);
    expect(own.size).toBeGreaterThan(50);
    const fraud = new Map(known.map(({ transaction_id, tx_fraud }) => [transaction_id, tx_fraud]));
    for (const [id, row] of own) {
      expect([id, row.is_fraud]).toEqual([id, fraud.get(id) ?? null]);
      const { customer_id, terminal_id } = pushed.find(({ transaction_id }) => transaction_id === id)!;
      expect([row.customer_id, row.terminal_id]).toEqual([`${customer_id}`, `${terminal_id}`]);
      for (const [name, value] of Object.entries(row)) {
        const said = answered.get(id)![name];
        if (!name.startsWith('f_') || said === null) continue;
        expect([id, name, said]).toEqual([
          id,
          name,
          typeof value === 'number' ? expect.closeTo(value, 9) : value,
        ]);
      }
    }
    const labelled = [...own.keys()].filter((id) => fraud.has(id)).length;
    expect(one.stdout).toContain(`${labelled} labelled, ${own.size - labelled} unlabelled`);
    expect(one.stdout).toContain('left out: of an event that was decided before');
    expect(one.stdout).toContain('with a label and without a decision');
    // All decisions are of today: none of them has waited 90 days.
    const young = await train([...ofLog, '--history', archive(), '--label-window', '90d'], computed);
    expect(young.stdout).toContain('younger than the label window, and without a label');
    expect(read(computed).size).toBe(labelled);
  }, 90_000);

  it.each([
    [[], /name the rows: --spine, or logged decisions, --decisions/],
    [['--spine', 'x', '--decisions', 'y'], /two ways to name the rows/],
    [['--spine', 'x', '--labels', 'y', '--history', 'z'], /--labels is for logged decisions/],
    [['--spine', 'x'], /name the events: --history/],
    [['--decisions', 'x'], /name the events: --history, or --logged/],
    [['--decisions', 'x', '--logged', '--history', 'z'], /leave out --history/],
    [['--decisions', 'x', '--logged', '--time', 'at'], /--time is for a spine/],
    [['--decisions', 'x', '--logged', '--no-event-id'], /--event-id is for a spine/],
    [['--decisions', 'x', '--logged', '--label-window', '90d'], /--label-window is for labels/],
    [['--decisions', 'x', '--logged', '--label-window', 'long'], /must be a duration/],
    [['--decisions', 'x', '--logged', '--label-columns', 'a,,b'], /names of columns, separated by commas/],
  ])(
    '%j is refused',
    async (args, message) => {
      const { code, stderr } = await train(args, join(temporaryDirectory(), 'out.csv'));
      expect(code).toBe(1);
      expect(stderr).toMatch(message);
    },
    30_000,
  );
});

describe('what is written down', () => {
  it('is metrics in the text format, without keys, in the place of those before', async () => {
    const folder = temporaryDirectory();
    const file = join(folder, 'skew.prom');
    writeFileSync(file, 'those before\n');
    const { code } = await skew([...FRAUD, '--metrics', file], { secret: SECRET });
    expect(code).toBe(0);
    const lines = readFileSync(file, 'utf8').split('\n');
    expect(lines.pop()).toBe('');
    for (const line of lines)
      expect(line).toMatch(
        /^(# (HELP|TYPE) millrace_skew_\w+ .+|millrace_skew_\w+\{(\w+="[^"]*",?)+\} \d+(\.\d+)?)$/,
      );
    const [, compared] = new RegExp(
      `^millrace_skew_values_compared\\{service="card_fraud",feature="${COUNT}"\\} (\\d+)$`,
      'm',
    ).exec(lines.join('\n'))!;
    expect(lines).toContain(
      `millrace_skew_values_matched{service="card_fraud",feature="${COUNT}"} ${compared}`,
    );
    expect(lines).toContain(
      `millrace_skew_decisions_left_out{service="card_fraud",reason="event_not_in_history"} ${neverRecorded}`,
    );
    expect(readdirSync(folder)).toEqual(['skew.prom']);
  }, 60_000);

  it.each([
    [['--service', 'card_fraude'], /there is no service 'card_fraude'; did you mean 'card_fraud'/],
    [[...FRAUD, '--fail-below', '2'], /must be a number from 0 to 1/],
    [[...FRAUD, '--lag', 'soon'], /must be 0 or a duration up to 1h/],
    [[...FRAUD, '--metrics', '/nowhere/skew.prom'], /\/nowhere\/skew\.prom cannot be written \(ENOENT\)/],
    [[...FRAUD, '--decisions', '/nowhere'], /\/nowhere: there is no such file/],
  ])(
    '%j is refused, or told',
    async (args, message) => {
      const { code, stderr } = await skew(args);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(message);
    },
    60_000,
  );
});
