/** The events of a file, typed by the source's schema; a bad row is an item of its own, with its line. */
import { parse } from 'csv-parse';
import secureJson from 'secure-json-parse';
import type { CompiledSource } from '../../engine/definitions/compiled.ts';
import { decodeCsvRecord, missingCsvColumns } from '../../engine/definitions/decode-csv.ts';
import { type DecodeResult, decodeEvent } from '../../engine/definitions/decode-event.ts';
import { toJsonValue } from '../../engine/definitions/to-json-value.ts';
import { CliError } from '../cli-error.ts';
import type { InputFile } from './input-file.ts';
import { readLines } from './read-lines.ts';

export interface ReplayEvent {
  readonly ok: true;
  /** Line of the file where the event begins, from 1. */
  readonly line: number;
  readonly eventTimeMs: number;
  /** The event as JSON text. */
  readonly json: string;
}

export interface ReplayRejection {
  readonly ok: false;
  readonly line: number;
  readonly code: string;
  readonly column: string | null;
  readonly message: string;
}

const MAX_LINE_BYTES = 1024 * 1024;

function item(line: number, decoded: DecodeResult): ReplayEvent | ReplayRejection {
  return decoded.ok
    ? { ok: true, line, eventTimeMs: decoded.eventTimeMs, json: JSON.stringify(toJsonValue(decoded.row)) }
    : { ok: false, line, code: decoded.code, column: decoded.column, message: decoded.message };
}

export function readEvents(
  file: InputFile,
  source: CompiledSource,
): AsyncGenerator<ReplayEvent | ReplayRejection> {
  return file.format === 'csv' ? readCsv(file, source) : readNdjson(file, source);
}

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

const newlinesWithin = (record: readonly string[]): number =>
  record.reduce((count, field) => count + (field.includes('\n') ? field.split('\n').length - 1 : 0), 0);

async function* readCsv(
  file: InputFile,
  source: CompiledSource,
): AsyncGenerator<ReplayEvent | ReplayRejection> {
  const parser = parse({
    bom: true,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_LINE_BYTES,
  });
  file.stream.once('error', (error) => parser.destroy(error));
  file.stream.pipe(parser);
  let fields = 0;
  let decode: ReturnType<typeof decodeCsvRecord> | null = null;
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      if (decode === null) {
        const missing = missingCsvColumns(source.definition, record);
        if (missing.length > 0) {
          throw new CliError(
            `the CSV header lacks ${missing.length === 1 ? 'column' : 'columns'} ${missing.join(', ')} of source ${source.name}; it has ${record.join(', ').slice(0, 400)}`,
          );
        }
        fields = record.length;
        decode = decodeCsvRecord(source, record, { checkKeys: true });
        continue;
      }
      const line = info.lines - newlinesWithin(record);
      if (record.length === fields) yield item(line, decode(record));
      else {
        const message = `the record has ${record.length} fields, the header ${fields}`;
        yield { ok: false, line, code: 'wrong_field_count', column: null, message };
      }
    }
  } catch (error) {
    throw readError(error);
  } finally {
    file.stream.destroy();
  }
  if (decode === null) throw new CliError('the CSV file is empty: it needs a header line');
}

async function* readNdjson(
  file: InputFile,
  source: CompiledSource,
): AsyncGenerator<ReplayEvent | ReplayRejection> {
  const decode = decodeEvent(source, { checkKeys: true });
  const text = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const { number: line, bytes } of readLines(file.stream, MAX_LINE_BYTES)) {
      if (bytes === null) {
        const message = `the line is longer than ${MAX_LINE_BYTES} bytes`;
        yield { ok: false, line, code: 'line_too_long', column: null, message };
        continue;
      }
      let data: unknown;
      try {
        const decoded = text.decode(bytes);
        if (decoded.trim() === '') continue;
        data = secureJson.parse(decoded);
      } catch {
        yield { ok: false, line, code: 'not_json', column: null, message: 'the line is not UTF-8 JSON' };
        continue;
      }
      yield item(line, decode(data));
    }
  } catch (error) {
    throw readError(error);
  } finally {
    file.stream.destroy();
  }
}

/** What went wrong with the file itself: unreadable, damaged gzip, broken quoting. */
function readError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  const { message, code, lines } = error as Error & { code?: string; lines?: number };
  const isCsv = code?.startsWith('CSV_') || code?.startsWith('INVALID_');
  const where = isCsv && lines !== undefined ? `line ${lines}: ` : '';
  return new CliError(`the file cannot be read on: ${where}${message}`, { cause: error });
}
