/**
 * What is in a data directory after kills, against what was sent and acknowledged: the log event by event, and every
 * feature of every key against the oracle over the log, before and after compaction.
 */
import { compose } from '../../embedded/runtime.ts';
import { openLmdbStorage, type Storage } from '../../embedded/storage.ts';
import type { CompiledSource } from '../../engine/definitions/compiled.ts';
import { decodeEvent } from '../../engine/definitions/decode-event.ts';
import { positionEventId } from '../../engine/event-id.ts';
import { type OracleEvent, oracleValue } from '../../engine/testing/oracle.ts';
import { toJson } from '../../serve/json-value.ts';
import { KEYS, killRepo, PACING, type PushName, pushOf, SHAPE } from './kill-repo.mjs';

/** Everything that was sent to one data directory. */
export class KillBooks {
  /** As `ROUND NUMBER` → the push. */
  readonly sent = new Map<string, PushName>();
  readonly acknowledged = new Set<string>();

  /** Pushes with event ids that got no answer. */
  unanswered(): PushName[] {
    return [...this.sent]
      .filter(([name, push]) => !this.acknowledged.has(name) && pushOf(push).source === 'taps')
      .map(([, push]) => push);
  }
}

export interface CheckCounts {
  readonly records: number;
  readonly values: number;
  /** Events of pushes without an answer that are there. */
  readonly unansweredButThere: number;
}

/** @throws where something is missing, there twice, there without having been sent, or a value is wrong */
export async function checkDirectory(dataDir: string, books: KillBooks): Promise<CheckCounts> {
  const storage = await openLmdbStorage({ dataDir });
  const engine = await compose({ repo: killRepo, shape: SHAPE, pacing: PACING }, storage);
  try {
    await engine.ready();
    for (const { source, records } of engine.readiness().lag) {
      if (records !== 0) throw new Error(`source ${source} is ${records} records behind its log`);
    }
    const events = new Map<string, OracleEvent[]>();
    const found = new Map<string, number>();
    let records = 0;
    for (const source of killRepo.sources.values()) {
      const { accepted, tags } = await recordsOf(storage, source);
      events.set(source.name, accepted);
      records += tags.length;
      for (const tag of tags) found.set(tag, (found.get(tag) ?? 0) + 1);
    }
    const unansweredButThere = compare(books, found);
    const ask = () => compareValues(engine.app, events, Date.now());
    let values = await ask();
    await engine.compact();
    values += await ask();
    return { records, values, unansweredButThere };
  } finally {
    await engine.close();
  }
}

/** The log's records as the oracle counts them: of one id, the first. */
async function recordsOf(
  storage: Storage,
  source: CompiledSource,
): Promise<{ accepted: OracleEvent[]; tags: string[] }> {
  const log = await storage.log(source.name, 1);
  const { startOffset, endOffset } = await log.ends(0);
  const decode = decodeEvent(source);
  const accepted: OracleEvent[] = [];
  const tags: string[] = [];
  const seen = new Set<string>();
  for (let offset = startOffset; offset < endOffset; ) {
    const chunk = await log.read({ partition: 0, fromOffset: offset, maxRecords: 1_000, maxBytes: 1e6 });
    if (chunk.records.length === 0) throw new Error(`the log of ${source.name} has nothing at ${offset}`);
    for (const record of chunk.records) {
      if (record.offset !== offset++)
        throw new Error(`the log of ${source.name} has a hole before ${offset}`);
      const event = decode(JSON.parse(Buffer.from(record.value!).toString()));
      if (!event.ok) throw new Error(`record ${record.offset} of ${source.name}: ${event.message}`);
      const tag = String(event.row.tag);
      tags.push(tag);
      const id = event.eventId ?? positionEventId(0, record.offset);
      if (!seen.has(tag)) accepted.push({ timeMs: event.eventTimeMs, id, row: event.row });
      seen.add(tag);
    }
  }
  return { accepted, tags };
}

/** Returns how many events without an answer are there. */
function compare(books: KillBooks, found: ReadonlyMap<string, number>): number {
  let unansweredButThere = 0;
  let known = 0;
  for (const [name, push] of books.sent) {
    const { source, events } = pushOf(push);
    const there = events.filter(({ tag }) => found.has(tag));
    known += there.length;
    for (const { tag } of there) {
      if (found.get(tag)! > 1) throw new Error(`event ${tag} of ${source} is there ${found.get(tag)} times`);
    }
    if (books.acknowledged.has(name)) {
      if (there.length < events.length) {
        throw new Error(
          `push ${name} to ${source} was acknowledged: ${there.length} of ${events.length} there`,
        );
      }
      continue;
    }
    if (there.length > 0 && there.length < events.length) {
      throw new Error(`push ${name} to ${source} is there in part: ${there.length} of ${events.length}`);
    }
    unansweredButThere += there.length;
  }
  if (known !== found.size) throw new Error(`${found.size - known} events are there that nobody sent`);
  return unansweredButThere;
}

/** Returns the number of values compared. */
async function compareValues(
  app: Awaited<ReturnType<typeof compose>>['app'],
  events: ReadonlyMap<string, readonly OracleEvent[]>,
  atMs: number,
): Promise<number> {
  let values = 0;
  for (const key of KEYS) {
    const response = await app.inject({
      method: 'POST',
      url: '/v1/services/kills/features',
      payload: { entities: { key }, at: atMs, metadata: true },
    });
    if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}: ${response.body}`);
    const { features, metadata } = response.json();
    for (const view of killRepo.views.values()) {
      for (const feature of view.features.values()) {
        const column = view.definition.features[feature.name]!.column ?? null;
        const expected = toJson(
          oracleValue({ view, feature, column, key, atMs, events: events.get(view.source.name)! }),
        );
        const { status } = metadata.features[feature.name];
        if (status !== 'present' && status !== 'empty') {
          throw new Error(`${feature.name} of ${key} is ${status}`);
        }
        if (JSON.stringify(features[feature.name]) !== JSON.stringify(expected)) {
          throw new Error(
            `${feature.name} of ${key} is ${JSON.stringify(features[feature.name])}, not ${JSON.stringify(expected)}`,
          );
        }
        values++;
      }
    }
  }
  return values;
}
