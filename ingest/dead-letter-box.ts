/**
 * The dead letters of one source, for whoever looks after them: what there is, what it looks like, and once more into the
 * log when what was wrong has been mended, or discarded where nobody wants it any more.
 *
 * A replay appends copies, then marks their letters as replayed. Where it ends in between, the next one appends the same
 * copies again: a copy has the identity of its original, and counts once. So nothing depends on the marks but what is
 * listed. A copy that still cannot be used is a letter again, of the same record.
 */
import type { DeadLetterReason } from './dead-letter.ts';
import type { KeptLetter, LetterEnd, LetterOrigin, LetterShelf, RecordCopy } from './letter-shelf.ts';

/** Letters that meet all of it. Absent: any. */
export interface LetterFilter {
  readonly reason?: DeadLetterReason;
  readonly view?: string;
  /** Written at or after this time, ms. */
  readonly sinceMs?: number;
  /** Written before this time, ms. */
  readonly beforeMs?: number;
  /** Of one of these records. */
  readonly origins?: readonly LetterOrigin[];
}

/** A letter without the record in it: that is personal data, and large. */
export type LetterSummary = Pick<
  KeptLetter,
  'source' | 'partition' | 'offset' | 'reason' | 'view' | 'message' | 'appendedMs' | 'writtenMs' | 'omitted'
> & { readonly valueBytes: number | null };

/** What has become of a letter. */
export type LetterState = 'open' | LetterEnd;

type PlacedSummary = LetterSummary & Pick<KeptLetter, 'place'>;

export const UNREPLAYABLE = {
  no_value: 'the record has no value',
  original_gone: 'the letter is not whole, and the log does not have the record any more',
  too_large: 'with the name of its origin the record is larger than the topic takes (max.message.bytes)',
} as const;

export interface Unreplayable extends LetterOrigin {
  readonly why: keyof typeof UNREPLAYABLE;
}

export interface ReplayResult {
  /** Records that were appended again. */
  readonly replayed: number;
  readonly unreplayable: readonly Unreplayable[];
  /** Records that met the filter and were left, as the limit was reached. */
  readonly remaining: number;
}

/** Copies of one append: what a replay that is killed does again at most. */
const BATCH_RECORDS = 500;
const BATCH_BYTES = 4 * 1024 * 1024;

const keyOf = ({ partition, offset }: LetterOrigin): string => `${partition}/${offset}`;

export class DeadLetterBox {
  readonly #shelf: LetterShelf;

  constructor(shelf: LetterShelf) {
    this.#shelf = shelf;
  }

  /** Letters that were neither replayed nor discarded, each record and view once, in the order in which they were written. */
  async list(filter: LetterFilter = {}): Promise<LetterSummary[]> {
    const { letters } = await this.#read(filter);
    return [...letters.values()].flatMap((ofRecord) => [...ofRecord.values()].map(summaryOf));
  }

  /** Whole letters of one record, whatever became of them: the last of each view; none: there is no such letter. */
  async show(origin: LetterOrigin): Promise<(KeptLetter & { readonly state: LetterState })[]> {
    const found = new Map<string | null, KeptLetter & { readonly state: LetterState }>();
    const key = keyOf(origin);
    for await (const entry of this.#shelf.entries()) {
      if (entry.kind === 'letter') {
        const { letter } = entry;
        if (keyOf(letter) === key) found.set(letter.view, { ...letter, state: 'open' });
      } else if (keyOf(entry) === key) {
        for (const [view, letter] of found) {
          if (letter.place <= entry.upTo) found.set(view, { ...letter, state: entry.kind });
        }
      }
    }
    return [...found.values()];
  }

  /**
   * Says of the letters of these records that nobody wants them any more: they are listed and replayed no longer, and stay for
   * as long as letters are kept. Safe to repeat.
   * @param origins each once
   * @returns records that had letters
   */
  async discard(origins: readonly LetterOrigin[]): Promise<number> {
    const { letters, lastPlaces } = await this.#read({ origins });
    const marks = origins
      .filter((origin) => letters.has(keyOf(origin)))
      .map(({ partition, offset }) => {
        return { partition, offset, upTo: lastPlaces.get(keyOf({ partition, offset }))! };
      });
    if (marks.length === 0) return 0;
    await this.#shelf.mark('discarded', marks);
    return marks.length;
  }

  /**
   * Appends the records of the letters that were not replayed again. Safe to repeat, also after it was cut off.
   * @param limit records at most
   */
  async replay(
    filter: LetterFilter,
    { limit = Number.POSITIVE_INFINITY, onProgress = (_done: number, _total: number) => {} } = {},
  ): Promise<ReplayResult> {
    const { letters, lastPlaces } = await this.#read(filter);
    const pending = new Set(letters.keys());
    const total = Math.min(pending.size, limit);
    const unreplayable: Unreplayable[] = [];
    let replayed = 0;
    let batch: RecordCopy[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return;
      await this.#shelf.append(batch);
      await this.#shelf.mark(
        'replayed',
        batch.map(({ partition, originOffset: offset }) => {
          return { partition, offset, upTo: lastPlaces.get(keyOf({ partition, offset }))! };
        }),
      );
      replayed += batch.length;
      batch = [];
      bytes = 0;
      onProgress(replayed + unreplayable.length, total);
    };
    for await (const entry of this.#shelf.entries()) {
      if (entry.kind !== 'letter' || !pending.has(keyOf(entry.letter))) continue;
      if (replayed + batch.length >= limit) break;
      pending.delete(keyOf(entry.letter));
      const copy = await this.#copyOf(entry.letter);
      if ('why' in copy) {
        unreplayable.push(copy);
        continue;
      }
      batch.push(copy);
      bytes += copy.value.length;
      if (batch.length >= BATCH_RECORDS || bytes >= BATCH_BYTES) await flush();
    }
    await flush();
    onProgress(replayed + unreplayable.length, total);
    return { replayed, unreplayable, remaining: pending.size };
  }

  /** Letters by record, then by view; and where the last letter of each record is, whatever the filter says. */
  async #read(filter: LetterFilter): Promise<{
    letters: Map<string, Map<string | null, PlacedSummary>>;
    lastPlaces: Map<string, number>;
  }> {
    const letters = new Map<string, Map<string | null, PlacedSummary>>();
    const lastPlaces = new Map<string, number>();
    const meets = meeting(filter);
    for await (const entry of this.#shelf.entries()) {
      if (entry.kind !== 'letter') {
        const key = keyOf(entry);
        const left = [...(letters.get(key) ?? [])].filter(([, { place }]) => place > entry.upTo);
        if (left.length > 0) letters.set(key, new Map(left));
        else letters.delete(key);
        continue;
      }
      const { letter } = entry;
      const key = keyOf(letter);
      lastPlaces.set(key, letter.place);
      if (!meets(letter)) continue;
      const ofRecord = letters.get(key) ?? new Map<string | null, PlacedSummary>();
      const { value, key: _, headers: __, stamp: ___, thrown: ____, ...rest } = letter;
      letters.set(
        key,
        ofRecord.set(letter.view, { ...rest, valueBytes: value === null ? null : value.length }),
      );
    }
    return { letters, lastPlaces };
  }

  async #copyOf(letter: KeptLetter): Promise<RecordCopy | Unreplayable> {
    const { partition, offset } = letter;
    const isWhole = letter.omitted.every((part) => part === 'message');
    const record = isWhole ? letter : await this.#shelf.original(letter);
    if (record === null) return { partition, offset, why: 'original_gone' };
    const { value, key, headers, stamp } = record;
    if (value === null) return { partition, offset, why: 'no_value' };
    const copy = { partition, originOffset: offset, value, key, headers, stamp };
    return (await this.#shelf.fits(copy)) ? copy : { partition, offset, why: 'too_large' };
  }
}

function meeting({
  reason,
  view,
  sinceMs,
  beforeMs,
  origins,
}: LetterFilter): (letter: KeptLetter) => boolean {
  const keys = origins === undefined ? null : new Set(origins.map(keyOf));
  return (letter) =>
    (reason === undefined || letter.reason === reason) &&
    (view === undefined || letter.view === view) &&
    (sinceMs === undefined || letter.writtenMs >= sinceMs) &&
    (beforeMs === undefined || letter.writtenMs < beforeMs) &&
    (keys === null || keys.has(keyOf(letter)));
}

function summaryOf({ place: _, ...summary }: PlacedSummary): LetterSummary {
  return summary;
}
