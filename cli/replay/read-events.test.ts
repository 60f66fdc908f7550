import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { integer, long, string, timestamp } from '../../engine/definitions/column.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { streamSource } from '../../engine/definitions/stream-source.ts';
import { openInputFile } from './input-file.ts';
import { type ReplayEvent, type ReplayRejection, readEvents } from './read-events.ts';

const source = compileRepo([
  streamSource({
    name: 's',
    columns: { id: long(), at: timestamp(), user: string(), port: integer({ nullable: true }) },
    eventTime: 'at',
    eventId: 'id',
  }),
]).sources.get('s')!;

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-replay-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function read(name: string, content: string | Uint8Array): Promise<(ReplayEvent | ReplayRejection)[]> {
  const path = join(directory, name);
  writeFileSync(path, content);
  const items: (ReplayEvent | ReplayRejection)[] = [];
  for await (const item of readEvents(await openInputFile(path), source)) items.push(item);
  return items;
}

/** Events as their data, rejections as `line code`. */
const brief = (items: readonly (ReplayEvent | ReplayRejection)[]): unknown[] =>
  items.map((item) => (item.ok ? JSON.parse(item.json) : `${item.line} ${item.code}`));

const AT = '2020-01-01T00:00:00Z';
const atMs = Date.parse(AT);

describe('events of a CSV file', () => {
  it('are typed by the source: empty text, null, 64-bit integers', async () => {
    const items = await read(
      'a.csv',
      `\ufeffuser,at,id,extra,port\r\n,${AT},9007199254740993,x,\r\n" a,""b",${AT},2,y,22\r\n`,
    );
    expect(brief(items)).toEqual([
      { id: '9007199254740993', at: atMs, user: '', port: null },
      { id: 2, at: atMs, user: ' a,"b', port: 22 },
    ]);
    expect(items[0]).toMatchObject({ line: 2, eventTimeMs: atMs });
  });

  it('name the line of a bad row, also after a field with line ends', async () => {
    const text = `id,at,user\n1,${AT},"a\nb"\nx,${AT},u\n3,${AT}\n\n4,2020-13-01T00:00:00Z,u\n5,${AT},"c\n\nd"\n`;
    const items = await read('b.csv', text);
    expect(items.map(({ line }) => line)).toEqual([2, 4, 5, 7, 8]);
    expect(brief(items).slice(1, 4)).toEqual(['4 wrong_type', '5 wrong_field_count', '7 invalid_timestamp']);
  });

  it('unpacks gzip whatever the name says', async () => {
    const packed = gzipSync(`id,at,user\n1,${AT},u\n`);
    expect(await read('c.csv', packed)).toHaveLength(1);
    expect(await read('c.csv.gz', packed)).toHaveLength(1);
  });

  it('refuses a file whose header lacks required columns, naming them', async () => {
    await expect(read('d.csv', 'id,when\n1,2\n')).rejects.toThrow(
      /lacks columns at, user of source s; it has id, when/,
    );
    await expect(read('d.csv', '')).rejects.toThrow(/empty/);
  });

  it('stops at broken quoting or a damaged archive, saying where', async () => {
    await expect(read('e.csv', `id,at,user\n1,${AT},u\n2,${AT},u"v\n`)).rejects.toThrow(/line 3: .*quote/i);
    const packed = gzipSync(`id,at,user\n1,${AT},u\n`);
    await expect(read('e.csv.gz', packed.subarray(0, packed.length - 9))).rejects.toThrow(
      /cannot be read on/,
    );
  });
});

describe('events of an NDJSON file', () => {
  it('are typed by the source, bad lines named', async () => {
    const event = { id: 1, at: AT, user: 'a\u2028b', port: null, extra: [1] };
    const lines = [
      JSON.stringify(event),
      '',
      '{"id":1',
      '[]',
      `{"id":2,"at":${atMs},"user":7}`,
      `{"__proto__":{},"id":3,"at":${atMs},"user":"u"}`,
      `{"id":"4","at":${atMs},"user":"u"}`,
    ];
    expect(brief(await read('a.ndjson', `${lines.join('\n')}`))).toEqual([
      { id: 1, at: atMs, user: 'a\u2028b', port: null },
      '3 not_json',
      '4 not_an_object',
      '5 wrong_type',
      '6 not_json',
      { id: 4, at: atMs, user: 'u', port: null },
    ]);
    expect(await read('a.jsonl.gz', gzipSync(JSON.stringify(event)))).toHaveLength(1);
  });

  it('may not be UTF-8', async () => {
    expect(brief(await read('b.ndjson', Buffer.from([0x22, 0xff, 0x22, 0x0a])))).toEqual(['1 not_json']);
  });
});

describe('an input file', () => {
  it('must be there, be a file, and have a known format', async () => {
    await expect(openInputFile(join(directory, 'none.csv'))).rejects.toThrow(/none.csv cannot be read/);
    await expect(openInputFile(directory, 'csv')).rejects.toThrow(/directory/);
    await expect(openInputFile(join(directory, 'x.txt'))).rejects.toThrow(/--format/);
  });
});
