/** The archive as pyarrow reads it, and so pandas: the same rows and types, from a directory with commits beside the data. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { boolean, double, long, string, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { lackOfPython, python } from '../services/index.ts';
import { ArchivedLog, archiveAll } from './testing/archived-log.ts';

const NOW_MS = Date.UTC(2026, 10, 30, 12);

const READ = `
import json, sys
import pyarrow.dataset
table = pyarrow.dataset.dataset(sys.argv[1], partitioning='hive').to_table().sort_by([('_partition', 'ascending'), ('_offset', 'ascending')])
print(json.dumps({'types': {f.name: str(f.type) for f in table.schema}, 'rows': table.to_pylist()}, default=str))
`;

const lack = lackOfPython('pyarrow.dataset');

describe.skipIf(lack !== null)(`pyarrow${lack === null ? '' : ` [${lack}]`}`, () => {
  test('reads types, nulls and 64 bits as they were, and no row of a commit twice', async () => {
    const source = streamSource({
      name: 'orders',
      columns: {
        at: timestamp(),
        id: string(),
        large: long({ nullable: true }),
        price: double({ nullable: true }),
        paid: boolean({ nullable: true }),
      },
      eventTime: 'at',
    });
    const directory = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const log = new MemoryEventLog({ source: 'orders', partitions: 1, random: () => 'log' });
    const archived = new ArchivedLog({ source, log, directory, nowMs: NOW_MS });
    await archived.append(0, [
      { at: NOW_MS, id: 'a', large: 2n ** 63n - 1n, price: 0.1, paid: true },
      { at: NOW_MS - 86_400_000, id: 'b', large: null, price: null, paid: null },
    ]);
    await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
    const read = python(READ, directory);
    expect(JSON.parse(read.replace('9223372036854775807', '"9223372036854775807"'))).toEqual({
      types: {
        at: 'timestamp[us, tz=UTC]',
        id: 'string',
        large: 'int64',
        price: 'double',
        paid: 'bool',
        _partition: 'int32',
        _offset: 'int64',
        _appended_at: 'timestamp[us, tz=UTC]',
        _stamp: 'string',
        _origin_offset: 'int64',
        source: 'string',
        day: 'string',
      },
      rows: [
        {
          ...{
            at: '2026-11-30 12:00:00+00:00',
            id: 'a',
            large: '9223372036854775807',
            price: 0.1,
            paid: true,
          },
          ...{
            _partition: 0,
            _offset: 0,
            _appended_at: '2026-11-30 12:00:00+00:00',
            _stamp: 'stamp 0',
            _origin_offset: null,
          },
          ...{ source: 'orders', day: '2026-11-30' },
        },
        {
          ...{ at: '2026-11-29 12:00:00+00:00', id: 'b', large: null, price: null, paid: null },
          ...{
            _partition: 0,
            _offset: 1,
            _appended_at: '2026-11-30 12:00:00+00:00',
            _stamp: 'stamp 1',
            _origin_offset: null,
          },
          ...{ source: 'orders', day: '2026-11-29' },
        },
      ],
    });
  });
});
