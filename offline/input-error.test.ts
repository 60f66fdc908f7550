/** Whatever is wrong with what is given: an error that names the file and the column and says what to do, and no values. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as arrow from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  compileRepo,
  count,
  featureService,
  featureView,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { DuckDb, readError, text } from './duckdb.ts';
import { InputError } from './input-error.ts';
import { type TrainingFileOptions, trainingSet, trainingSetFile } from './make-training-set.ts';
import { card, history, repo, spine } from './testing/payments.ts';
import { csvText, ndjsonText, type Rows, writeTable } from './testing/table-writers.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-input-errors-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let good: { readonly spine: string; readonly history: string };

beforeAll(async () => {
  good = {
    spine: await writeTable(join(dir, 'spine.parquet'), spine),
    history: await writeTable(join(dir, 'history.parquet'), history),
  };
});

const SECRET = 'a-secret-of-somebody';

async function messageOf(given: Partial<TrainingFileOptions>): Promise<string> {
  const options = { repo, service: 'all', threads: 1, ...good, ...given };
  const making =
    given.out === undefined ? trainingSet(options) : trainingSetFile({ ...options, out: given.out });
  const error = await making.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof InputError)) throw new Error('expected an InputError', { cause: error });
  expect(error.message).not.toContain(SECRET);
  return error.message;
}

function file(name: string, content: string | Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

const bigints = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value);

const secret = (n: number): string => `${SECRET}-${n}`;

describe('files', () => {
  test('that are not there', async () => {
    const spine = join(dir, 'none.parquet');
    expect(await messageOf({ spine })).toBe(`${spine}: there is no such file`);
    const history = join(dir, 'none/*.csv');
    expect(await messageOf({ history })).toBe(`${history}: there is no such file`);
  });

  test('a folder without data', async () => {
    const folder = join(dir, 'nothing');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'README.md'), '');
    expect(await messageOf({ history: folder })).toMatch(
      /nothing: the folder has no file with data: it must end in .parquet/,
    );
  });

  test('of a format that is not known by the name', async () => {
    expect(await messageOf({ spine: file('spine.xlsx', '') })).toMatch(
      /spine.xlsx: the format is not known by the name: it must end in .parquet, .csv/,
    );
    expect(await messageOf({ out: join(dir, 'out.feather') })).toMatch(
      /the format is told by the name: .parquet, .csv/,
    );
    expect(await messageOf({ out: join(dir, 'out') })).toMatch(/the format is told by the name/);
  });

  test('of more than one format', async () => {
    mkdirSync(join(dir, 'mixed'), { recursive: true });
    file('mixed/a.csv', csvText(history));
    file('mixed/b.ndjson', ndjsonText(history));
    expect(await messageOf({ history: join(dir, 'mixed') })).toMatch(
      /mixed: files of more than one format: csv, ndjson/,
    );
  });

  test('that are damaged', async () => {
    expect(await messageOf({ spine: file('no.parquet', `${SECRET.repeat(9)}`) })).toMatch(
      /^\S+no.parquet cannot be read: No magic bytes found at end of file/,
    );
    expect(await messageOf({ history: file('no.csv.gz', SECRET) })).toMatch(
      /no.csv.gz cannot be read: Input is not a GZIP stream/,
    );
    expect(await messageOf({ history: file('no.arrow', SECRET) })).toMatch(/no.arrow cannot be read: /);
    expect(await messageOf({ spine: file('empty.parquet', '') })).toMatch(/empty.parquet cannot be read: /);
    expect(
      await messageOf({ spine: file('latin.csv', Buffer.from('card,timestamp\n\xff,5\n', 'latin1')) }),
    ).toMatch(/latin.csv cannot be read: .*not utf-8/);
  });

  test('Arrow that is compressed', () => {
    // As the library says it.
    const said = new Error('Record batch is compressed but codec not found');
    expect((readError('a.feather', said) as Error).message).toBe(
      'a.feather cannot be read: it is compressed, which is not read here: write it without, or as Parquet',
    );
  });

  test('Parquet whose pages are damaged, which is only seen when they are read', async () => {
    const damaged = (name: string, whole: Buffer): string => {
      const bytes = Buffer.from(whole);
      // Behind the magic bytes lie the pages, and the footer is at the end.
      bytes.fill(0xff, 4, Math.floor(bytes.length / 3));
      return file(name, bytes);
    };
    const ofHistory = readFileSync(good.history);
    expect(await messageOf({ history: damaged('pages-h.parquet', ofHistory) })).toMatch(/cannot be read: /);
    const ofSpine = readFileSync(good.spine);
    expect(await messageOf({ spine: damaged('pages-s.parquet', ofSpine) })).toMatch(/cannot be read: /);
  });

  test('whose id differs from that of the source in case only', async () => {
    const csv = file('case.csv', 'card,timestamp,ID\na,5,7\n');
    const id = 'id';
    expect(await messageOf({ spine: csv })).toBe(
      `${csv}: is column 'ID' the event's id, which is '${id}' in the source? Name it (--event-id ID), or give none (--no-event-id)`,
    );
    for (const eventId of ['ID', null]) {
      const given = { ...good, spine: csv, eventId };
      expect((await trainingSet({ repo, service: 'all', threads: 1, ...given })).numRows).toBe(1);
    }
  });

  test.each(['spine', 'history'] as const)('that change while they are read: %s', async (which) => {
    const out = join(dir, 'changed-out.parquet');
    const path = file(`changed-${which}.parquet`, readFileSync(good[which]));
    let touched = false;
    const onProgress = (): void => {
      if (!touched) utimesSync(path, new Date(), new Date(2_000_000_000_000));
      touched = true;
    };
    for (const to of [{ out }, {}]) {
      touched = false;
      utimesSync(path, new Date(), new Date());
      expect(await messageOf({ [which]: path, onProgress, ...to })).toContain(
        `${path} was changed while it was read`,
      );
    }
    expect(existsSync(out)).toBe(false);
    expect(existsSync(`${out}.part`)).toBe(false);
  });

  test('that are records of a log, and others that are not', async () => {
    const folder = join(dir, 'records-and-others');
    mkdirSync(folder);
    const records = history.rows.map((row, _offset) => ({ ...row, _partition: 0, _offset }));
    const types = { ...history.types, _partition: 'integer', _offset: 'long' } as const;
    await writeTable(join(folder, 'a.parquet'), { types, rows: records });
    expect(await messageOf({ history: folder, spine: file('no-time.csv', 'card\na\n') })).not.toContain(
      'log',
    );
    await writeTable(join(folder, 'b.parquet'), history);
    expect(await messageOf({ history: folder })).toBe(
      `${folder}: ${history.rows.length} rows do not say which records of the log they are, and others do: an archive has its own files only`,
    );
  });

  test('that are read and written', async () => {
    const [readSpine, readHistory] = (['spine', 'history'] as const).map((name) =>
      file(`read-and-written-${name}.parquet`, readFileSync(good[name])),
    ) as [string, string];
    const link = join(dir, 'link.parquet');
    symlinkSync(readHistory, link);
    for (const out of [readSpine, readHistory, link]) {
      expect(await messageOf({ out, spine: readSpine, history: readHistory })).toBe(
        `${out} is what the training set is made from: name another file (--out)`,
      );
    }
    expect(readFileSync(readHistory)).toEqual(readFileSync(good.history));
    expect(readFileSync(readSpine)).toEqual(readFileSync(good.spine));
  });

  test('whose names would be patterns are read as they are named', async () => {
    const folder = join(dir, 'names of files');
    mkdirSync(folder);
    const few = { types: history.types, rows: history.rows.slice(0, 1) };
    for (const format of ['parquet', 'csv', 'ndjson', 'arrow']) {
      const write = async (name: string, rows: Rows): Promise<string> =>
        format === 'csv' || format === 'ndjson'
          ? file(`names of files/${name}.${format}`, (format === 'csv' ? csvText : ndjsonText)(rows))
          : writeTable(join(folder, `${name}.${format}`), rows);
      await write('e1', few);
      const named = await write('e[1]', history);
      const [wanted, found] = await Promise.all(
        [good.history, named].map((path) =>
          trainingSet({ repo, service: 'all', threads: 1, spine: good.spine, history: path }),
        ),
      );
      expect(JSON.stringify(found!.toArray(), bigints), format).toBe(
        JSON.stringify(wanted!.toArray(), bigints),
      );
    }
  });

  test('CSV without a header', async () => {
    expect(await messageOf({ spine: file('nothing.csv', '') })).toMatch(
      /nothing.csv: there is no header: the first line must name the columns/,
    );
  });

  test.each([
    [
      'a row too short',
      `card,timestamp,x\na,5,1\n${secret(1)},6\n`,
      3,
      'Expected Number of Columns: 3 Found: 2',
    ],
    [
      'a row too long',
      `card,timestamp\na,5\n${secret(1)},6,7\n`,
      3,
      'Expected Number of Columns: 2 Found: 3',
    ],
    [
      'a header too short',
      `card,timestamp\n${secret(1)},5,1\n${secret(2)},6,2\n`,
      2,
      'Expected Number of Columns: 2 Found: 3',
    ],
    ['a quote that does not end', `card,timestamp\na,5\n"${secret(1)},6\n`, 3, 'unterminated quote'],
  ])('CSV with %s', async (_, content, line, reason) => {
    const message = await messageOf({ spine: file('ragged.csv', content) });
    expect(message).toMatch(/ragged.csv cannot be read: CSV Error on Line: /);
    expect(message).toContain(`Line: ${line}`);
    expect(message).toContain(reason);
    expect(message).not.toContain('Possible');
  });

  test('a row that is damaged in the history', async () => {
    const [header, ...rows] = csvText(history).split('\n');
    const content = [header, `${secret(1)},1`, ...rows].join('\n');
    expect(await messageOf({ history: file('ragged-history.csv', content) })).toMatch(
      /ragged-history.csv cannot be read: CSV Error on Line: \d+: Expected Number of Columns: 9 Found: 2/,
    );
  });

  test('NDJSON with a line that is none', async () => {
    const lines = ndjsonText(history).split('\n');
    const content = [lines[0], `{"card": "${SECRET}", `, ...lines.slice(1)].join('\n');
    expect(await messageOf({ history: file('broken.ndjson', content) })).toMatch(
      /broken.ndjson cannot be read: Malformed JSON in file \S+ at byte \d+ in line [23]: /,
    );
    const twice = `{"card": "a", "timestamp": 5}\n{"card": "${SECRET}", "card": "${SECRET}", "timestamp": 5}\n`;
    expect(await messageOf({ spine: file('twice.ndjson', twice) })).toMatch(
      /twice.ndjson cannot be read: .*in line 2: a name is there twice$/,
    );
  });

  test('Arrow with a column of a type that has no place', async () => {
    const table = new arrow.Table({
      card: arrow.vectorFromArray(['a'], new arrow.Utf8()),
      timestamp: arrow.vectorFromArray([5n], new arrow.Int64()),
      place: arrow.vectorFromArray([new Uint8Array([1])], new arrow.Binary()),
    });
    expect(await messageOf({ spine: table })).toBe(
      "the table given: column 'place' has the Arrow type Binary, which cannot be read here",
    );
  });

  test('Parquet with a column named as DuckDB names the rows', async () => {
    const path = join(dir, 'rows.parquet');
    const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: '' });
    await db.run(
      `COPY (SELECT 'a' AS card, 5 AS timestamp, 1 AS file_row_number) TO ${text(path)} (FORMAT parquet)`,
    );
    db.close();
    expect(await messageOf({ spine: path })).toMatch(
      /rows.parquet: a column cannot be named 'file_row_number' here/,
    );
  });
});

describe('the history', () => {
  test('lacks a column that the source requires', async () => {
    const { at: _, ...types } = history.types;
    const path = await writeTable(join(dir, 'lacks.csv'), { ...history, types });
    expect(await messageOf({ history: path })).toMatch(
      /lacks.csv: the source 'payments' requires 'at'; the columns there are 'id', 'card'/,
    );
  });

  test('has a column of another type', async () => {
    const types = { ...history.types, amount: 'string' } as const;
    const rows = history.rows.map((row) => ({ ...row, amount: SECRET }));
    const path = await writeTable(join(dir, 'other-type.parquet'), { types, rows });
    expect(await messageOf({ history: path })).toMatch(
      /other-type.parquet: column 'amount' is VARCHAR there and double in the source 'payments'/,
    );
  });

  test('has rows that break the schema: they are counted, and do not count', async () => {
    const content = csvText({ ...history, types: { ...history.types, pin: 'string' } }).replace(
      /,-7,/,
      `,${SECRET},`,
    );
    const options = { repo, service: 'all', threads: 1, spine: good.spine, out: join(dir, 'counted.csv') };
    const { histories, views } = await trainingSetFile({ ...options, history: file('breaks.csv', content) });
    expect(histories.get('payments')).toMatchObject({ events: 5, refused: new Map([['pin', 1]]) });
    expect(views[0]!.events).toBe(5 - 1);
  });

  test('has no row that can be used', async () => {
    const rows = history.rows.map((row) => ({ ...row, at: SECRET }));
    const path = await writeTable(join(dir, 'refused.ndjson'), {
      types: { ...history.types, at: 'string' },
      rows,
    });
    expect(await messageOf({ history: path })).toBe(
      "no row of the history of 'payments' can be used: 'at' is missing or not a time (ISO 8601 with a zone, or ms since 1970) in 5",
    );
  });

  test('is of a source that the service does not read', async () => {
    expect(await messageOf({ history: { payment: good.history } })).toBe(
      "the service 'all' reads no source 'payment' (it reads payments)",
    );
    expect(await messageOf({ history: {} })).toBe("there is no history of the source 'payments'");
  });

  test('is one where there are two sources', async () => {
    const refunds = streamSource({
      name: 'refunds',
      columns: { at: timestamp(), card: string() },
      eventTime: 'at',
    });
    const byCard = featureView({
      name: 'refunds_by_card',
      source: refunds,
      entity: card,
      features: { m: count().over('1d') },
    });
    const payments = repo.views.get('payments_by_card')!.definition;
    const both = compileRepo([
      payments,
      byCard,
      featureService({ name: 'both', features: [payments, byCard] }),
    ]);
    expect(await messageOf({ repo: both, service: 'both' })).toBe(
      "the service 'both' reads 2 sources: give a history for each of payments, refunds (--history SOURCE=PATH)",
    );
  });
});

describe('the spine', () => {
  const spineOf = (content: string): Promise<string> => messageOf({ spine: file('spine.csv', content) });

  test('has no time', async () => {
    expect(await spineOf('card,when\na,5\n')).toMatch(
      /spine.csv: which column has the time of a row\? There is no 'timestamp'; name it \(--time\)/,
    );
    expect(await messageOf({ time: 'wen' })).toMatch(
      /spine.parquet: there is no column 'wen', the time of a row; the columns are 'card', 'timestamp'/,
    );
  });

  test('lacks the key of an entity', async () => {
    expect(await spineOf('timestamp,x\n5,1\n')).toMatch(
      /spine.csv: there is no column 'card', the key of the entity 'card'; the columns are 'timestamp', 'x'/,
    );
  });

  test.each([
    ['a time that is null', 'a,\n'],
    ['a time that is none', `a,${SECRET}\n`],
    ['a time before 1970', 'a,1969-12-31T23:59:59Z\n'],
  ])('has %s', async (_, row) => {
    expect(await spineOf(`card,timestamp\na,5\n${row}${row}`)).toMatch(
      /spine.csv: row 2 cannot be used: its 'timestamp' is missing or not a time \(ISO 8601 with a zone, or ms since 1970\) \(2 such rows\)/,
    );
  });

  test('has a key that is too long', async () => {
    expect(await spineOf(`card,timestamp\n${'é'.repeat(512)},5\n${SECRET.padEnd(1_025, '-')},5\n`)).toMatch(
      /spine.csv: row 2 cannot be used: its 'card' is missing or not a text or an integer of at most \d+ bytes \(1 such rows\)/,
    );
  });

  test('has a key that is neither a text nor an integer', async () => {
    const types = { ...spine.types, card: 'boolean' } as const;
    const rows = spine.rows.map((row) => ({ ...row, card: true }));
    expect(await messageOf({ spine: await writeTable(join(dir, 'keys.parquet'), { types, rows }) })).toMatch(
      /keys.parquet: column 'card' must be a text or an integer to be an entity key/,
    );
  });

  test.each(['n', 'N', 'Shops_Top'])('has a column %s, as a feature is named', async (name) => {
    expect(await spineOf(`card,timestamp,${name}\na,5,1\n`)).toMatch(
      /spine.csv: '\w+' would be there twice, as a column of the spine and as a feature: give features a prefix \(--prefix\)/,
    );
  });

  test('has a column as a feature is named with its prefix', async () => {
    const path = file('prefixed.csv', 'card,timestamp,x_n\na,5,1\n');
    expect(await messageOf({ spine: path, prefix: 'X_' })).toMatch(
      /prefixed.csv: 'X_n' would be there twice/,
    );
  });

  test('has no rows', async () => {
    expect(await spineOf('card,timestamp\n')).toMatch(/spine.csv: the spine has no rows/);
  });

  test('has a column whose name is kept for other things', async () => {
    expect(await spineOf('card,timestamp,$place\na,5,1\n')).toMatch(
      /column '\$place': a name must not begin with \$/,
    );
  });

  test('is about events of a source that has no ids, or of none', async () => {
    expect(await messageOf({ eventSource: 'nothing' })).toMatch(
      /reads no source 'nothing' that has event ids \(--event-source\)/,
    );
    expect(await messageOf({ eventId: 'about' })).toMatch(
      /there is no column 'about', the id of the event a row is about/,
    );
  });
});

describe('what is asked for', () => {
  test('is a service that is not there', async () => {
    expect(await messageOf({ service: 'alls' })).toBe(
      "there is no service 'alls'; did you mean 'all'? (there are all)",
    );
  });

  test('is more than a little memory has room for', async () => {
    expect(await messageOf({ memoryBytes: 1_000 })).toMatch(/memoryBytes must be 536870912 at least/);
  });
});

describe('where it is written', () => {
  test('is no folder', async () => {
    const folder = join(dir, 'no/such/folder');
    expect(await messageOf({ out: join(folder, 'out.parquet') })).toBe(
      `there is no folder ${folder} for the training set: make it`,
    );
    expect(existsSync(join(dir, 'no'))).toBe(false);
    mkdirSync(join(dir, 'folder.parquet'));
    expect(await messageOf({ out: join(dir, 'folder.parquet') })).toMatch(
      /folder.parquet is a folder: name a file/,
    );
  });

  // Root may write anywhere.
  test.skipIf(process.getuid?.() === 0)('is a folder that cannot be written to', async () => {
    const folder = join(dir, 'closed');
    mkdirSync(folder);
    chmodSync(folder, 0o500);
    expect(await messageOf({ out: join(folder, 'out.parquet') })).toMatch(
      /closed cannot be written to: name another place/,
    );
  });

  test('is where the work folder is a file', async () => {
    expect(await messageOf({ out: join(dir, 'x.csv'), work: file('a-file', '') })).toMatch(
      /a-file cannot be a work folder \(ENOTDIR\): name another \(--work\)/,
    );
    expect(await messageOf({ out: join(dir, 'x.csv'), work: join(dir, 'a-file/work') })).toMatch(
      /cannot be a work folder \(ENOTDIR\): name another \(--work\)/,
    );
  });
});
