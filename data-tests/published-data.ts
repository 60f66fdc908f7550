/** Where the published data is, and how its files are read. None of it is in the repository. */
import { createReadStream, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { csvDecoder } from '../engine/definitions/decode-csv.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';

/** The folder of the data. */
export const folder =
  process.env.MILLRACE_TEST_DATA ?? fileURLToPath(new URL('../../shared/data', import.meta.url));

/** Whether the files are there; says so where they are not, as the tests are then skipped. */
export function dataPresent(...files: readonly string[]): boolean {
  const missing = files.filter((file) => !existsSync(`${folder}/${file}`));
  if (missing.length > 0) {
    console.warn(
      `SKIPPED: no ${missing.join(', ')} in ${folder}; set MILLRACE_TEST_DATA to where the data is`,
    );
  }
  return missing.length === 0;
}

/** Records of a CSV file as lists of fields, the header first. */
async function* records(file: string): AsyncGenerator<string[]> {
  const parser = createReadStream(`${folder}/${file}`).pipe(createGunzip()).pipe(parse());
  for await (const record of parser) yield record as string[];
}

/** Rows of a CSV file by column name. */
export async function* csvRows(file: string): AsyncGenerator<Record<string, string>> {
  let header: string[] | null = null;
  for await (const record of records(file)) {
    if (header === null) header = record;
    else yield Object.fromEntries(header.map((name, i) => [name, record[i]!]));
  }
}

/** Events of a CSV file, in arrival order. @throws where a row does not fit the source */
export async function* csvEvents(file: string, source: CompiledSource): AsyncGenerator<DecodedEvent> {
  let decode: ReturnType<typeof csvDecoder> | null = null;
  for await (const record of records(file)) {
    if (decode === null) {
      decode = csvDecoder(source.definition, record);
      continue;
    }
    const event = decode(record);
    if (!event.ok) throw new Error(`${file}: ${event.message}`);
    yield event;
  }
}
