/**
 * Mistakes to be planted in the sources of the real stores, logs and engine: each disables one of the `PARTS`, and one of
 * the named test files must then fail. `npm run mutations -- --real` plants them, one at a time, in a copy of the checkout.
 */
import type { Part } from './disabled-parts.ts';

export interface SourceMutation {
  readonly disables: Part;
  /** The mistake. */
  readonly mistake: string;
  readonly file: string;
  /** Occurs in the file exactly once. */
  readonly original: string;
  readonly replacement: string;
  /** Test files that ought to notice, over the real store. */
  readonly tests: readonly string[];
}

const REDIS = 'engine/store/redis/redis-tile-store.test.ts';
const LMDB = 'engine/store/lmdb-tile-store.test.ts';
const COMPARE_AND_SET = 'engine/store/redis/scripts/compareAndSet-n.lua';
const LMDB_STORE = 'engine/store/lmdb-tile-store.ts';

export const SOURCE_MUTATIONS: Readonly<Record<string, SourceMutation>> = {
  redis_no_cas: {
    disables: 'compare-and-set',
    mistake: 'the script writes a state whatever its token',
    file: COMPARE_AND_SET,
    original: '  if token ~= expected then',
    replacement: '  if false then',
    tests: [REDIS],
  },
  redis_no_cas_slow_member: {
    disables: 'compare-and-set',
    mistake: 'the same, and a member that is not the owner any more writes',
    file: COMPARE_AND_SET,
    original: '  if token ~= expected then',
    replacement: '  if false then',
    tests: ['distributed/slow-member.test.ts'],
  },
  redis_watermark_no_cas: {
    disables: 'compare-and-set',
    mistake: 'the script moves a watermark whatever its token',
    file: 'engine/store/redis/scripts/moveWatermarks-1.lua',
    original: '  if same and token == expected then',
    replacement: '  if same then',
    tests: [REDIS],
  },
  lmdb_no_cas: {
    disables: 'compare-and-set',
    mistake: 'a state is written whatever its token',
    file: LMDB_STORE,
    original: `    const present = this.#states.getBinaryFast(stateKey);
    if ((present === undefined ? null : readHex(present, 0)) !== expected) return false;
`,
    replacement: `    void expected;
`,
    tests: [LMDB],
  },
  redis_no_incarnation_check: {
    disables: "watermark's run-id check",
    mistake: 'the script moves watermarks for who saw another run of the server',
    file: 'engine/store/redis/scripts/moveWatermarks-1.lua',
    original: 'local same = ARGV[1] == incarnation',
    replacement: 'local same = true',
    tests: [REDIS],
  },
  redis_one_incarnation: {
    disables: "watermark's run-id check",
    mistake: 'every run of the server has the same incarnation',
    file: 'engine/store/redis/scripts/moveWatermarks-1.lua',
    original: "local incarnation = info('server', 'run_id') .. ':' .. info('replication', 'master_replid')",
    replacement: "local incarnation = 'always' .. string.sub(info('server', 'run_id'), 1, 0)",
    tests: [REDIS],
  },
  lmdb_no_incarnation_check: {
    disables: "watermark's run-id check",
    mistake: 'watermarks are moved for who saw the store before it was opened again',
    file: LMDB_STORE,
    original: '        if (incarnation !== this.#incarnation) return false;',
    replacement: '        void incarnation;',
    tests: [LMDB],
  },
  redis_torn_fold: {
    disables: 'compaction atomicity',
    mistake: 'the head is written by one call of the script, the fields by another',
    file: 'engine/store/redis/redis-tile-store.ts',
    original: `    const calls = this.#encode((writer) => writeCalls({ writer, ...context }, writes));
    const replies`,
    replacement: `    if (writes.some(({ next, changes }) => next !== null && changes.size > 0)) {
      const heads = writes.map((write) => ({ ...write, changes: new Map() }));
      const headsWon = await this.compareAndSet(heads);
      const fields = writes.filter(({ next, changes }, i) => headsWon[i] && next !== null && changes.size > 0);
      const rest = this.#encode((writer) =>
        writeCalls(
          { writer, ...context },
          fields.map((write) => ({ ...write, expected: write.next!.token })),
        ),
      );
      await this.#connection.call(rest.map(({ call }) => call));
      return headsWon;
    }
    const calls = this.#encode((writer) => writeCalls({ writer, ...context }, writes));
    const replies`,
    tests: [REDIS],
  },
  redis_half_applied: {
    disables: 'compaction atomicity',
    mistake: 'a fold that loses to another write leaves its fields',
    file: COMPARE_AND_SET,
    original: `    won[k - 1] = '0'
`,
    replacement: `    won[k - 1] = '0'
    for from = sets_at, deletes_at - 1, 2 do redis.call('HSET', key, ARGV[from], ARGV[from + 1]) end
`,
    tests: [REDIS],
  },
  lmdb_torn_fold: {
    disables: 'compaction atomicity',
    mistake: 'the head is written in one transaction, the fields in another',
    file: LMDB_STORE,
    original: `    for (const { key, value } of changes) {
      if (value === null) this.#states.remove(key);
      else this.#states.put(key, value);
    }
    if (dueMs`,
    replacement: `    setImmediate(() => {
      for (const { key, value } of changes) {
        if (value === null) this.#states.remove(key);
        else this.#states.put(key, value);
      }
    });
    if (dueMs`,
    tests: [LMDB],
  },
  no_offset_check_redis: {
    disables: 'offset check',
    mistake: 'a record counts as not applied, whatever the state in Redis says',
    ...noOffsetCheck(),
    tests: ['distributed/replayed-log.test.ts'],
  },
  no_offset_check_lmdb: {
    disables: 'offset check',
    mistake: 'a record counts as not applied, whatever the state in lmdb says',
    ...noOffsetCheck(),
    tests: ['embedded/replayed-log.test.ts'],
  },
  no_dedupe: {
    disables: 'dedupe',
    mistake: 'events with an id that was seen are applied again',
    file: 'engine/tiles/state-protocol.ts',
    original: '  dedupe: true,',
    replacement: '  dedupe: false,',
    tests: ['distributed/duplicates.test.ts', 'embedded/duplicates.test.ts'],
  },
  kafka_dlq_identity: {
    disables: 'dead-letter identity',
    mistake: 'the header of a replayed dead letter that names its origin is not read',
    file: 'ingest/log/kafka/record-origin.ts',
    original: '  return offset >= 0 && offset < place.offset ? offset : null;',
    replacement: '  return offset > place.offset ? offset : null;',
    tests: ['distributed/dead-letters.test.ts'],
  },
  lmdb_dlq_identity: {
    disables: 'dead-letter identity',
    mistake: 'the origin of a replayed dead letter is not read',
    file: 'ingest/log/lmdb-event-log.ts',
    original: '    originOffset: isCopy ? view.getFloat64(9, true) : null,',
    replacement: '    originOffset: null,',
    tests: ['embedded/dead-letters.test.ts'],
  },
};

function noOffsetCheck(): Pick<SourceMutation, 'file' | 'original' | 'replacement'> {
  return {
    file: 'engine/tiles/state-protocol.ts',
    original: `  isApplied(head, partition, offset) {
    return (
`,
    replacement: `  isApplied(head, partition, offset) {
    if (offset >= 0) return false;
    return (
`,
  };
}

/** @throws where the text is not there exactly once: the sources have changed, and the mutation must follow */
export function plantedIn(source: string, name: string): string {
  const { file, original, replacement } = SOURCE_MUTATIONS[name]!;
  const places = source.split(original).length - 1;
  if (places !== 1)
    throw new Error(`the text that ${name} replaces occurs ${places} times in ${file}, not once`);
  return source.replace(original, () => replacement);
}
