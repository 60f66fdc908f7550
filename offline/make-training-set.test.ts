/** Services of two sources and two entities, on-demand features over both, and every way to say what the rows of a spine are. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as arrow from 'apache-arrow';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import * as definitions from '../test/fixtures/trades/features.ts';
import { type TrainingSetOptions, trainingSet, trainingSetFile } from './make-training-set.ts';
import { arrowTableOf, type Row, type Rows } from './testing/table-writers.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-make-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const repo = compileRepo(Object.values(definitions));
const BASE_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const random = new SeededRandom(7);

/** Few times and many ties. */
const timeMs = (): number => BASE_MS + random.below(40) * 600_000;
const symbolOf = (): string => `s${random.below(4)}`;
const accountOf = (): string => `account ${random.below(5)}`;

const trades: Rows = {
  types: { id: 'integer', at: 'timestamp', account: 'string', symbol: 'string', amount: 'double' },
  rows: Array.from({ length: 300 }, (_, id) => ({
    ...{ id, at: timeMs(), account: accountOf(), symbol: symbolOf(), amount: random.below(1_000) / 8 },
  })),
};
const quotes: Rows = {
  types: { quote: 'integer', quoted_at: 'timestamp', symbol: 'string', price: 'double' },
  rows: Array.from({ length: 200 }, (_, quote) => ({
    ...{ quote, quoted_at: timeMs(), symbol: symbolOf(), price: random.below(400) / 4 },
  })),
};
const spine: Rows = {
  types: {
    ...{
      account: 'string',
      symbol: 'string',
      as_of: 'timestamp',
      lots: 'integer',
      note: 'string',
      label: 'integer',
    },
    ...{ id: 'integer', quote: 'integer' },
  },
  rows: Array.from({ length: 120 }, (_, label) => {
    const trade = random.pick(trades.rows);
    const quote = random.pick(quotes.rows.filter(({ quoted_at }) => quoted_at === trade.at));
    return {
      account: random.chance(0.1) ? null : trade.account!,
      symbol: random.chance(0.1) ? null : random.chance(0.1) ? 'never' : (quote?.symbol ?? symbolOf()),
      as_of: trade.at!,
      lots: random.chance(0.1) ? -1 : random.below(10),
      note: random.chance(0.5) ? null : 'abc',
      label,
      id: random.chance(0.2) ? null : trade.id!,
      quote: random.chance(0.2) ? null : (quote?.quote ?? null),
    };
  }),
};

/** Events of a key that a row sees, in their order: by time, then by id. */
function seen(rows: readonly Row[], column: string, key: unknown, atMs: number, lastId: unknown): Row[] {
  const [time, id] = column === 'account' ? ['at', 'id'] : ['quoted_at', 'quote'];
  return rows
    .filter((row) => row[column] === key && Number(row[time!]) <= atMs)
    .filter((row) => lastId === null || row[time!] !== atMs || Number(row[id!]) <= Number(lastId))
    .sort((a, b) => Number(a[time!]) - Number(b[time!]) || Number(a[id!]) - Number(b[id!]));
}

const within = (rows: readonly Row[], time: string, atMs: number): Row[] =>
  rows.filter((row) => Number(row[time]) > atMs - HOUR_MS);

const total = (rows: readonly Row[], column: string): number =>
  rows.reduce((sum, row) => sum + Number(row[column]), 0);

/** What a row must have. @param about of which source its event is */
function expectedOf(row: Row, about: 'trades' | 'quotes' | null): Record<string, unknown> {
  const atMs = Number(row.as_of);
  const ofAccount = seen(trades.rows, 'account', row.account, atMs, about === 'trades' ? row.id : null);
  const ofSymbol = seen(quotes.rows, 'symbol', row.symbol, atMs, about === 'quotes' ? row.quote : null);
  const hour = within(ofSymbol, 'quoted_at', atMs);
  const account = {
    trades_30d: row.account === null ? null : ofAccount.length,
    amount_1h: row.account === null ? null : total(within(ofAccount, 'at', atMs), 'amount'),
    symbols:
      row.account === null || ofAccount.length === 0 ? null : ofAccount.slice(-3).map(({ symbol }) => symbol),
  };
  const price = (ofSymbol.at(-1)?.price as number | undefined) ?? null;
  const symbol = {
    price: row.symbol === null ? null : price,
    price_mean_1h: row.symbol === null || hour.length === 0 ? null : total(hour, 'price') / hour.length,
    quotes_30d: row.symbol === null ? null : ofSymbol.length,
  };
  const isMissing = row.account === null || row.symbol === null || Number(row.lots) < 0;
  const worth = isMissing
    ? null
    : (price ?? 0) * Number(row.lots) +
      ofAccount.length +
      (row.note === null ? 0 : 3) / 1_000 +
      (atMs % 2) / 10;
  return { ...account, ...symbol, worth };
}

const plain = (value: unknown): unknown => {
  if (typeof value === 'bigint') return Number(value);
  return value instanceof arrow.Vector ? Array.from(value, plain) : value;
};

function featuresOf(table: arrow.Table, prefix = ''): Record<string, unknown>[] {
  const names = repo.services.get('both')!.output.map(({ name }) => name);
  return Array.from({ length: table.numRows }, (_, i) =>
    Object.fromEntries(names.map((name) => [name, plain(table.getChild(`${prefix}${name}`)!.get(i))])),
  );
}

const options: Omit<TrainingSetOptions, 'spine'> = {
  ...{ repo, service: 'both', threads: 1, time: 'as_of' },
  history: { trades: arrowTableOf(trades), quotes: arrowTableOf(quotes) },
};

const without = ({ types, rows }: Rows, ...names: string[]): Rows => ({
  types: Object.fromEntries(Object.entries(types).filter(([name]) => !names.includes(name))),
  rows,
});

describe('two sources, two entities and a feature on demand over both', () => {
  const ofNone = spine.rows.map((row) => expectedOf(row, null));
  const ofTrades = spine.rows.map((row) => expectedOf(row, 'trades'));
  const ofQuotes = spine.rows.map((row) => expectedOf(row, 'quotes'));

  test('the fixture tells them apart', () => {
    expect(ofTrades).not.toEqual(ofNone);
    expect(ofQuotes).not.toEqual(ofNone);
    expect(ofNone.filter(({ worth }) => worth === null).length).toBeGreaterThan(10);
  });

  test('rows about no event see all of their millisecond', async () => {
    const table = await trainingSet({ ...options, spine: arrowTableOf(without(spine, 'id', 'quote')) });
    expect(featuresOf(table)).toEqual(ofNone);
    expect(Array.from(table.getChild('label')!, Number)).toEqual(spine.rows.map(({ label }) => label));
  });

  test('also where the spine has ids that do not count', async () => {
    const table = await trainingSet({ ...options, spine: arrowTableOf(spine), eventId: null });
    expect(featuresOf(table)).toEqual(ofNone);
  });

  test('rows about events of one source, the only one whose ids are there', async () => {
    const table = await trainingSet({ ...options, spine: arrowTableOf(without(spine, 'quote')) });
    expect(featuresOf(table)).toEqual(ofTrades);
  });

  test('or of the one that is named', async () => {
    const of = (eventSource: string) => trainingSet({ ...options, spine: arrowTableOf(spine), eventSource });
    expect(featuresOf(await of('trades'))).toEqual(ofTrades);
    expect(featuresOf(await of('quotes'))).toEqual(ofQuotes);
  });

  test('by a column of another name', async () => {
    const { quote: _, ...types } = spine.types;
    const renamed = {
      types: { ...types, about: 'integer' } as const,
      rows: spine.rows.map((row) => ({ ...row, about: row.quote! })),
    };
    const asked = { ...options, spine: arrowTableOf(renamed), eventId: 'about' };
    await expect(trainingSet(asked)).rejects.toThrow(
      /which source is 'about' the event id of\? Name it \(--event-source\)/,
    );
    expect(featuresOf(await trainingSet({ ...asked, eventSource: 'quotes' }))).toEqual(ofQuotes);
  });

  test('where ids of both are there, it must be said', async () => {
    await expect(trainingSet({ ...options, spine: arrowTableOf(spine) })).rejects.toThrow(
      /which source are its event ids of\? Name it \(--event-source\), or give none \(--no-event-id\)/,
    );
  });

  test('a prefix stands before the names of features, and of nothing else', async () => {
    const table = await trainingSet({ ...options, spine: arrowTableOf(spine), eventId: null, prefix: 'f_' });
    expect(featuresOf(table, 'f_')).toEqual(ofNone);
    expect(table.schema.fields.map(({ name }) => name)).toEqual([
      ...Object.keys(spine.types),
      ...repo.services.get('both')!.output.map(({ name }) => `f_${name}`),
    ]);
  });

  test('request data that is missing is told', async () => {
    await expect(
      trainingSet({ ...options, spine: arrowTableOf(without(spine, 'id', 'quote', 'lots')) }),
    ).rejects.toThrow(/there is no column 'lots', request data of the service 'both'/);
  });

  test('rows without keys and failures on demand are counted', async () => {
    const out = join(dir, 'counted.ndjson');
    const summary = await trainingSetFile({ ...options, spine: arrowTableOf(spine), eventId: null, out });
    const count = (is: (row: Row) => boolean): number => spine.rows.filter(is).length;
    expect(Object.fromEntries(summary.withoutKey)).toEqual({
      account: count(({ account }) => account === null),
      symbol: count(({ symbol }) => symbol === null),
    });
    expect(summary.errors.get('worth')).toBe(ofNone.filter(({ worth }) => worth === null).length);
    expect(summary.views.map(({ view, rows }) => [view, rows])).toEqual([
      ['trades_of_account', count(({ account }) => account !== null)],
      ['quotes_of_symbol', count(({ symbol }) => symbol !== null)],
    ]);
  });
});

describe('in memory', () => {
  const asked = { ...options, spine: arrowTableOf(without(spine, 'id', 'quote')) };

  test('nothing is left on disk', async () => {
    const temporary = mkdtempSync(join(dir, 'tmp-'));
    vi.stubEnv('TMPDIR', temporary);
    onTestFinished(() => void vi.unstubAllEnvs());
    let most = 0;
    await trainingSet({ ...asked, onProgress: () => (most = Math.max(most, readdirSync(temporary).length)) });
    expect(most).toBe(1);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('a run over tables is never taken for one over others', async () => {
    const out = join(dir, 'tables.ndjson');
    const work = `${out}.work`;
    // Stopped before the end, with everything in the work folder.
    const stopped = new Error('stopped');
    const stop = (): void => {
      throw stopped;
    };
    await expect(
      trainingSetFile({ ...asked, out, onProgress: ({ phase }) => phase === 'writing' && stop() }),
    ).rejects.toBe(stopped);
    expect(existsSync(work)).toBe(true);
    const none = { ...quotes, rows: quotes.rows.slice(0, 1) };
    const history = { trades: arrowTableOf(trades), quotes: arrowTableOf(none) };
    const { resumed } = await trainingSetFile({ ...asked, history, out });
    expect(resumed).toBe(false);
    const rows = readFileSync(out, 'utf8').trimEnd().split('\n');
    const most = Math.max(...rows.map((row) => (JSON.parse(row) as { quotes_30d: number }).quotes_30d));
    expect(most).toBe(1);
  });

  test('two at once on one work folder: the second is refused', async () => {
    const work = join(dir, 'shared');
    const first = trainingSetFile({ ...asked, work, out: join(dir, 'first.ndjson') });
    const second = trainingSetFile({ ...asked, work, out: join(dir, 'second.ndjson') });
    const [a, b] = await Promise.allSettled([first, second]);
    expect([a.status, b.status].sort()).toEqual(['fulfilled', 'rejected']);
    const refused = (a.status === 'rejected' ? a : b) as PromiseRejectedResult;
    expect(String(refused.reason)).toMatch(/shared: another process is at work there/);
  });

  test('a table of another copy of the library is one', async () => {
    // That for `require`, whose classes are its own.
    const url = `${pathToFileURL(join(import.meta.dirname, '../node_modules/apache-arrow/Arrow.node.js'))}`;
    const other = (await import(/* @vite-ignore */ url)) as typeof arrow;
    expect(other.Table).not.toBe(arrow.Table);
    const ipc = arrow.tableToIPC(asked.spine, 'file');
    const table = other.tableFromIPC(ipc);
    expect(featuresOf(await trainingSet({ ...asked, spine: table }))).toEqual(
      featuresOf(await trainingSet(asked)),
    );
  });
});
