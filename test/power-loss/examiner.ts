/**
 * Opens data directories that a power loss has left, one after another, in a process of its own: a damaged file can take
 * lmdb, and with it the process, down.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openEmbedded } from '../../embedded/runtime.ts';
import { ManualClock } from '../../engine/clock.ts';
import { type Environment, openEnvironment, valueView } from '../../engine/store/lmdb-environment.ts';
import { LmdbLogs } from '../../ingest/log/lmdb-logs.ts';
import type { Examination, ExaminationRequest, StoreContent } from './examination.ts';
import {
  eventOf,
  expectedFeatures,
  KEYS,
  NOW_MS,
  repo,
  SERVICE,
  SOURCES,
  type SourceName,
} from './purchases.ts';
import { newestTransaction } from './store-commits.ts';

type Logged = Record<SourceName, number[]>;

async function examine({ what, dataDir }: ExaminationRequest): Promise<Examination> {
  const problems: string[] = [];
  const logged: Logged = { purchases: [], visits: [] };
  const store = await storeContent(join(dataDir, 'store'));
  if (what === 'everything') {
    await readLogs(join(dataDir, 'log'), logged, problems);
    await askEngine(dataDir, logged, problems);
  }
  return { store, logged, problems };
}

/** Every key and value of the store. */
async function storeContent(path: string): Promise<StoreContent> {
  const dataFile = join(path, 'data.mdb');
  if (!existsSync(dataFile)) return { transaction: 0, hash: '' };
  const environment = await openEnvironment({ path, overlappingSync: true });
  const hash = createHash('sha256');
  let isEmpty = true;
  try {
    // The main database's keys are the names of the others.
    for (const name of ['due', 'due-of-state', 'meta', 'records', 'states', 'watermarks']) {
      const database = openExisting(environment, name);
      if (database === undefined) continue;
      isEmpty = false;
      hash.update(name);
      for (const { key, value } of database.getRange()) hash.update(key).update(valueView(value));
    }
  } finally {
    await environment.close();
  }
  return {
    transaction: newestTransaction(readFileSync(dataFile)),
    hash: isEmpty ? '' : hash.digest('hex'),
  };
}

/** undefined: there is none of that name yet. */
function openExisting(environment: Environment, name: string) {
  // `create`: lmdb-js has the option, its types do not.
  const options = { name, encoding: 'binary', keyEncoding: 'binary', cache: false, create: false } as const;
  return environment.openDB<Uint8Array, Uint8Array>(options) as
    | ReturnType<typeof environment.openDB<Uint8Array, Uint8Array>>
    | undefined;
}

async function readLogs(path: string, logged: Logged, problems: string[]): Promise<void> {
  mkdirSync(path, { recursive: true });
  const logs = await LmdbLogs.open(path);
  try {
    for (const source of SOURCES) {
      const log = await logs.log(source, 1);
      const { startOffset, endOffset } = await log.ends(0);
      let offset = startOffset;
      while (offset < endOffset) {
        const { records, nextOffset } = await log.read({
          partition: 0,
          fromOffset: offset,
          maxRecords: 5_000,
          maxBytes: 2 ** 24,
        });
        for (const { offset: found, value } of records) {
          if (found !== offset++) problems.push(`${source}: offset ${found} instead of ${offset - 1}`);
          const number = numberOf(source, value!);
          if (number === null) problems.push(`${source}: the record at ${found} is not what was pushed`);
          else logged[source].push(number);
        }
        offset = nextOffset;
      }
      if (new Set(logged[source]).size !== logged[source].length)
        problems.push(`${source}: an event is there twice`);
    }
  } finally {
    await logs.close();
  }
}

/** null: the record is not that of any event. */
function numberOf(source: SourceName, value: Uint8Array): number | null {
  const event = JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>;
  const number = Number(event[source === 'purchases' ? 'id' : 'n']);
  const atMs = new Date(event.at as string | number).getTime();
  const expected = eventOf(source, number);
  const isSame = Object.entries(expected).every(([name, value]) =>
    name === 'at' ? atMs === value : event[name] === value,
  );
  return isSame ? number : null;
}

async function askEngine(dataDir: string, logged: Logged, problems: string[]): Promise<void> {
  const engine = await openEmbedded({
    repo,
    dataDir,
    wallClock: new ManualClock(NOW_MS),
    processMetrics: false,
  });
  try {
    await engine.ready();
    const expectedOf = new Map(KEYS.map((key) => [key, expectedFeatures(key, logged)]));
    for (const when of ['', ' after a compaction']) {
      for (const [key, expected] of expectedOf) {
        const { statusCode, body } = await engine.app.inject({
          method: 'POST',
          url: `/v1/services/${SERVICE}/features`,
          payload: { entities: { key } },
        });
        const answer = statusCode === 200 ? JSON.parse(body).features : body;
        for (const [feature, value] of Object.entries(expected)) {
          if (answer[feature] !== value)
            problems.push(`${feature} of ${key} is ${answer[feature]}, not ${value}${when}`);
        }
      }
      await engine.compact();
    }
    const gaps = /^millrace_log_gap_records_total\{.*\} [^0]/m.exec(
      (await engine.app.inject('/metrics')).body,
    );
    if (gaps !== null) problems.push(`records are missing from the log: ${gaps[0]}`);
  } finally {
    await engine.close();
  }
}

process.on('message', (request: ExaminationRequest) => {
  examine(request).then(
    (examination) => process.send!({ examination }),
    (error: unknown) =>
      process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.send!({ ready: true });
