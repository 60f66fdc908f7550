import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { counters, fixture, millrace, type Server, temporaryDirectory, up } from './millrace-process.ts';

const ROWS = 250;
const startMs = Date.now() - 3_600_000;
const rows = Array.from({ length: ROWS }, (_, i) => ({
  id: `id ${i}`,
  at: new Date(startMs + i * 1000).toISOString(),
  key: i % 5 === 0 ? '' : 'k,"1"',
  n: i,
}));
const csvField = (value: string | number): string => `"${String(value).replaceAll('"', '""')}"`;
const csv = [
  'n,key,at,id',
  ...rows.map(({ n, key, at, id }) => [n, key, at, id].map(csvField).join(',')),
].join('\n');
const ndjson = rows.map((row) => JSON.stringify(row)).join('\n');

async function start(): Promise<Server & { file(name: string, content: string | Uint8Array): string }> {
  const directory = temporaryDirectory();
  const server = await up(['--features', fixture('counter'), '--data-dir', join(directory, 'data')]);
  return {
    ...server,
    file(name, content) {
      const path = join(directory, name);
      writeFileSync(path, content);
      return path;
    },
  };
}

const replayArgs = (file: string, url: string): string[] => [
  'replay',
  file,
  '--source',
  'clicks',
  '--features',
  fixture('counter'),
  '--url',
  url,
  '--batch',
  '40',
];

describe('millrace replay', () => {
  it('pushes CSV, NDJSON and gzip of both; the same events again are duplicates', async () => {
    const server = await start();
    const files = [
      server.file('a.csv', csv),
      server.file('b.ndjson', ndjson),
      server.file('c.csv.gz', gzipSync(csv)),
      server.file('d.jsonl.gz', gzipSync(ndjson)),
    ];
    for (const [i, file] of files.entries()) {
      const { code, stdout, stderr } = await millrace(replayArgs(file, server.url));
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const [accepted, duplicates] = i === 0 ? [ROWS, 0] : [0, ROWS];
      expect(stdout).toContain(`accepted ${accepted}, duplicates ${duplicates}, rejected 0 in`);
    }
    const all = await millrace(['get', 'counters', '--entity', 'key=', '--url', server.url, '--json']);
    expect(JSON.parse(all.stdout)).toMatchObject({ features: { clicks_30d: 50 } });
    expect(await counters(server, 'k,"1"')).toMatchObject({ clicks_30d: 200 });
  });

  it('lists rejected rows with their lines, keeps the others, and exits with 1', async () => {
    const server = await start();
    const lines = [
      JSON.stringify(rows[0]),
      '{',
      JSON.stringify({ ...rows[1], n: 'x' }),
      JSON.stringify(rows[2]),
    ];
    const future = JSON.stringify({ ...rows[3], at: new Date(Date.now() + 86_400_000).toISOString() });
    const file = server.file('mixed.ndjson', [...lines, future].join('\n'));
    const { code, stdout } = await millrace(replayArgs(file, server.url));
    expect(code).toBe(1);
    expect(stdout).toContain('accepted 2, duplicates 0, rejected 3');
    expect(stdout).toMatch(/line 2: not_json[\s\S]*line 3: wrong_type[\s\S]*line 5: too_far_in_future/);
    const allowed = await millrace([...replayArgs(file, server.url), '--allow-rejected']);
    expect(allowed.code).toBe(0);
  });

  it('keeps to bounds of event time and to a speed', async () => {
    const server = await start();
    const file = server.file('a.ndjson', ndjson);
    const args = [
      ...replayArgs(file, server.url),
      '--event-time-from',
      rows[10]!.at,
      '--event-time-to',
      rows[20]!.at,
    ];
    const started = performance.now();
    const { stdout, code } = await millrace([...args, '--speed', '20']);
    expect(code).toBe(0);
    expect(stdout).toContain('accepted 10, duplicates 0, rejected 0, outside the time bounds 240 in');
    // Ten events one second apart, twenty times as fast.
    expect(performance.now() - started).toBeGreaterThan(450);
  });

  it('says how to start a server where none answers, and names unknown sources', async () => {
    const file = join(temporaryDirectory(), 'a.ndjson');
    writeFileSync(file, ndjson);
    const nobody = await millrace(replayArgs(file, 'http://127.0.0.1:9'));
    expect(nobody.code).toBe(1);
    expect(nobody.stderr).toMatch(/no Millrace answers at http:\/\/127.0.0.1:9.*\bmillrace up\b/s);
    const unknown = await millrace(['replay', file, '--source', 'x', '--features', fixture('counter')]);
    expect(unknown.stderr).toContain('has no source x; its sources are anonymous, clicks');
    const missing = await millrace(['replay', file]);
    expect(missing.stderr).toContain('--source');
  });
});

describe('millrace get', () => {
  it('prints a table with the status of each feature, or the reply as JSON', async () => {
    const server = await start();
    await millrace(replayArgs(server.file('a.ndjson', ndjson), server.url));
    const ask = ['get', 'counters', '--url', server.url, '--entity', 'key=k,"1"'];
    const { stdout } = await millrace(ask);
    expect(stdout).toMatch(/^FEATURE +VALUE +STATUS$/m);
    expect(stdout).toMatch(/^clicks_30d +200 +present$/m);
    expect(stdout).toMatch(/^anonymous_30d +0 +empty$/m);
    const json = JSON.parse((await millrace([...ask, '--json'])).stdout) as { features: unknown };
    expect(json.features).toMatchObject({ clicks_30d: 200 });
    const earlier = await millrace([...ask, '--at', rows[9]!.at]);
    expect(earlier.stdout).toMatch(/^clicks_30d +8 +present$/m);
  });

  it('asks for some features, in a mode, by a deadline', async () => {
    const server = await start();
    const ask = ['get', 'counters', '--url', server.url, '--entity', 'key=k', '--json'];
    const some = await millrace([
      ...ask,
      '--feature',
      'clicks_30d',
      '--mode',
      'partial',
      '--deadline-ms',
      '60000',
    ]);
    expect(Object.keys(JSON.parse(some.stdout).features)).toEqual(['clicks_30d']);
    const unknown = await millrace([...ask, '--feature', 'nothing']);
    expect(unknown.stderr).toMatch(/'nothing'.*unknown_feature.*clicks_30d/s);
    expect((await millrace([...ask, '--mode', 'lenient'])).stderr).toContain('strict, partial');
    expect((await millrace([...ask, '--deadline-ms', '60001'])).stderr).toContain('from 1 to 60000');
  });

  it('sends request data as its declared type', async () => {
    const server = await start();
    const ask = ['get', 'bonus', '--url', server.url, '--entity', 'key=k'];
    expect((await millrace([...ask, '--request', 'bonus=3'])).stdout).toMatch(/^clicks_and_bonus +3 /m);
    const wrong = await millrace([...ask, '--request', 'bonus=x']);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/bonus.*must be an integer.*HTTP 400/);
  });

  it("repeats the server's refusal", async () => {
    const server = await start();
    const unknown = await millrace(['get', 'nothing', '--url', server.url]);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain('unknown_service, HTTP 404');
    const missing = await millrace(['get', 'counters', '--url', server.url]);
    expect(missing.stderr).toContain('missing_entity');
  });
});
