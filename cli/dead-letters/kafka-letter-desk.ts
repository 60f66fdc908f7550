import { pino } from 'pino';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { DeadLetterBox, type LetterFilter } from '../../ingest/dead-letter-box.ts';
import type { LetterOrigin } from '../../ingest/letter-shelf.ts';
import type { KafkaSettings } from '../../ingest/log/kafka/kafka-client.ts';
import { KafkaConnection } from '../../ingest/log/kafka/kafka-log.ts';
import type { KafkaLogReaderOptions } from '../../ingest/log/kafka/kafka-log-reader.ts';
import { CliError } from '../cli-error.ts';
import type { LetterDesk, ListedLetters, Replayed, ShownLetter } from './letter-desk.ts';

/** The dead letters in topics. Nothing else needs to run. */
export class KafkaLetterDesk implements LetterDesk {
  readonly #repo: CompiledRepo;
  readonly #connection: KafkaConnection;
  readonly #options: { readonly group: string; readonly timings?: KafkaLogReaderOptions['timings'] };
  readonly #boxes = new Map<string, DeadLetterBox>();
  readonly #closers: (() => Promise<void>)[] = [];

  /** @throws {KafkaUnreachableError} */
  static async open(
    repo: CompiledRepo,
    settings: KafkaSettings,
    options: { readonly group: string; readonly timings?: KafkaLogReaderOptions['timings'] },
  ): Promise<KafkaLetterDesk> {
    const connection = await KafkaConnection.open(settings, pino({ level: 'silent' }));
    return new KafkaLetterDesk(repo, connection, options);
  }

  private constructor(
    repo: CompiledRepo,
    connection: KafkaConnection,
    options: { readonly group: string; readonly timings?: KafkaLogReaderOptions['timings'] },
  ) {
    this.#repo = repo;
    this.#connection = connection;
    this.#options = options;
  }

  async sources(): Promise<readonly string[]> {
    return [...this.#repo.sources.keys()];
  }

  async views(): Promise<readonly string[]> {
    return [...this.#repo.views.keys()];
  }

  async list(source: string, filter: LetterFilter, limit: number): Promise<ListedLetters> {
    const letters = await this.#box(source).list(filter);
    const counts: Record<string, number> = {};
    for (const { reason } of letters) counts[reason] = (counts[reason] ?? 0) + 1;
    return { letters: letters.slice(0, limit), total: letters.length, counts };
  }

  async show(source: string, origin: LetterOrigin, withValue: boolean): Promise<ShownLetter[]> {
    const letters = await this.#box(source).show(origin);
    return letters.map(({ value, key: _, headers: __, ...letter }) => ({
      ...letter,
      valueBytes: value === null ? null : value.length,
      value: withValue ? value : null,
    }));
  }

  async replay(source: string, filter: LetterFilter, onProgress: (done: number) => void): Promise<Replayed> {
    let before = 0;
    const { replayed, unreplayable } = await this.#box(source).replay(filter, {
      onProgress: (done) => {
        onProgress(done - before);
        before = done;
      },
    });
    return { replayed, unreplayable };
  }

  discard(source: string, origins: readonly LetterOrigin[]): Promise<number> {
    return this.#box(source).discard(origins);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#closers.map((close) => close()));
    await this.#connection.close();
  }

  #box(name: string): DeadLetterBox {
    const known = this.#boxes.get(name);
    if (known !== undefined) return known;
    const source = this.#repo.sources.get(name);
    if (source === undefined) {
      throw new CliError(
        `there is no source ${name}; sources are ${[...this.#repo.sources.keys()].join(', ')}`,
      );
    }
    const of = { topic: source.definition.topic, source: name };
    const shelf = this.#connection.letterShelf(of, this.#options);
    this.#closers.push(() => shelf.close());
    const box = new DeadLetterBox(shelf);
    this.#boxes.set(name, box);
    return box;
  }
}
