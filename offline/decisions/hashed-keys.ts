/**
 * Hashed entity keys had back: whoever has the secret hashes the keys of the history and compares. Keys come as a stream and go
 * to a table of DuckDB, so that no more than a chunk of them is in memory here.
 */
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import type { KeyHash } from '../../serve/decision-log/key-hash.ts';
import { transported } from '../column-buffer.ts';
import { type DuckDb, quoted } from '../duckdb.ts';
import { type EventHistory, INVALID } from '../event-history.ts';
import { keyColumn } from '../spine.ts';
import { DECISIONS } from './decision-table.ts';

const HASHED = '"hashed keys"';

/**
 * Puts keys in the place of their hashes in the table of decisions. What is the hash of no key in the history stays as it is:
 * no event has such a key, as none has the key itself.
 * @returns by entity: decisions with such a hash, where there are any
 */
export async function restoreKeys(
  db: DuckDb,
  service: CompiledService,
  histories: ReadonlyMap<string, EventHistory>,
  hash: KeyHash,
): Promise<Map<string, number>> {
  const unknown = new Map<string, number>();
  for (const { name: entity } of service.entities) {
    const key = quoted(keyColumn(entity));
    const isHashed = `is_hashed AND ${key} IS NOT NULL`;
    const { n } = await db.row(`SELECT count(*) AS n FROM ${DECISIONS} WHERE ${isHashed}`);
    if (Number(n) === 0) continue;
    await hashKeys(db, keysOf(service, entity, histories), (text) => hash.of(entity, text));
    await db.run(
      `UPDATE ${DECISIONS} SET ${key} = h.key FROM ${HASHED} h WHERE ${isHashed} AND h.hash = ${DECISIONS}.${key}`,
    );
    const left = await db.row(
      `SELECT count(*) AS n FROM ${DECISIONS} WHERE ${isHashed} AND ${key} NOT IN (SELECT key FROM ${HASHED})`,
    );
    if (Number(left.n) > 0) unknown.set(entity, Number(left.n));
  }
  await db.run(`DROP TABLE IF EXISTS ${HASHED}`);
  return unknown;
}

/** The different keys of an entity in the history, as a query. */
function keysOf(
  service: CompiledService,
  entity: string,
  histories: ReadonlyMap<string, EventHistory>,
): string {
  const columns = new Map<string, string>();
  for (const { view } of service.views) {
    if (view.entity.name !== entity) continue;
    const { keyColumn: column } = view.definition;
    const events = histories.get(view.source.name)!.select([column]);
    columns.set(
      `${view.source.name} ${column}`,
      `SELECT CAST(${quoted(column)} AS VARCHAR) AS key FROM (${events}) WHERE ${quoted(INVALID)} IS NULL`,
    );
  }
  return `SELECT DISTINCT key FROM (${[...columns.values()].join(' UNION ALL ')}) WHERE key IS NOT NULL`;
}

async function hashKeys(db: DuckDb, keys: string, hashOf: (key: string) => string): Promise<void> {
  await db.run(`CREATE OR REPLACE TABLE ${HASHED} (key VARCHAR, hash VARCHAR)`);
  const appender = await db.appender('hashed keys');
  try {
    for await (const chunk of db.stream(`SELECT ${transported('key', 'string')} FROM (${keys})`)) {
      for (const [key] of chunk.getRows() as [string][]) {
        appender.appendVarchar(key);
        appender.appendVarchar(hashOf(key));
        appender.endRow();
      }
      appender.flushSync();
    }
  } finally {
    appender.closeSync();
  }
}
