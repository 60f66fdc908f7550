/**
 * Somebody who looks after the dead letters, usually once what was wrong has been mended: appends copies, then notes what is
 * done. May be killed in between, and then appends some of them again; a second one may be at it at the same time.
 */
import type { SeededRandom } from '../engine/testing/random.ts';
import type { DeadLetter } from '../ingest/dead-letter.ts';
import type { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import type { LogContent, Occurrence, Place } from './log-content.ts';
import type { Actor, Scheduler } from './scheduler.ts';

type Letter = Pick<DeadLetter, 'partition' | 'offset' | 'reason' | 'view'>;

/** The dead letters of a run. They are in a log of their own: they do not fall back with the store. */
export class SimulatedLetters {
  /** Record → the views that have a letter of it; null among them: a letter of all. */
  readonly #all = new Map<string, Set<string | null>>();
  /** The newest of each record, unless it was replayed. */
  readonly #pending = new Map<string, Letter>();
  /** Record → copies appended of it. */
  readonly #copies = new Map<string, number>();

  add(letter: Letter): void {
    const views = this.#all.get(nameOf(letter)) ?? new Set();
    this.#all.set(nameOf(letter), views.add(letter.view));
    this.#pending.set(nameOf(letter), letter);
  }

  /** Whether the record has a letter. @param view of this one, or of all */
  has(place: Place, view?: string): boolean {
    const views = this.#all.get(nameOf(place));
    if (views === undefined) return false;
    return view === undefined || views.has(view) || views.has(null);
  }

  get pending(): readonly Letter[] {
    return [...this.#pending.values()];
  }

  /** Those whose records can be used when they are replayed. @param mended whether poison can */
  mendable(mended: boolean): readonly Letter[] {
    return this.pending.filter(({ reason }) => isMendable(reason, mended));
  }

  /** @returns how many copies of the record there are now */
  copied(place: Place): number {
    const copies = (this.#copies.get(nameOf(place)) ?? 0) + 1;
    this.#copies.set(nameOf(place), copies);
    return copies;
  }

  /** One that a copy became meanwhile is not done with. @param letter as it was pending when it was replayed */
  replayed(letter: Letter): void {
    if (this.#pending.get(nameOf(letter)) === letter) this.#pending.delete(nameOf(letter));
  }
}

const isMendable = (reason: DeadLetter['reason'], mended: boolean): boolean =>
  reason === 'unknown_schema' || (reason === 'filter_or_projection' && mended);

/** How many of the letters that can only come again are replayed all the same. */
const HOPELESS_REPLAYED = 0.2;

const nameOf = ({ partition, offset }: Place): string => `${partition}:${offset}`;

export async function replayLetters(args: {
  readonly letters: SimulatedLetters;
  readonly log: MemoryEventLog;
  readonly content: LogContent;
  readonly random: SeededRandom;
  readonly scheduler: Scheduler;
  readonly actor: Actor;
  readonly nowMs: () => number;
  readonly mended: () => boolean;
  /** A copy of an event has been appended. @param copies how many there are now */
  readonly onCopy: (original: Occurrence, copies: number) => void;
  /** A copy has been appended of what cannot be used yet. */
  readonly onEarly: () => void;
}): Promise<void> {
  const { letters, log, content, random, scheduler, actor } = args;
  let batch: Letter[] = [];
  for (const letter of letters.pending) {
    const { partition, offset: originOffset, reason } = letter;
    const isEarly = !isMendable(reason, args.mended());
    if (isEarly && !random.chance(HOPELESS_REPLAYED)) continue;
    await scheduler.gate(actor);
    const place = { partition, offset: originOffset };
    const unusable = content.unusableAt(place);
    const value = unusable?.value ?? content.at(place).value;
    const eventTimeMs = unusable?.timeMs ?? content.at(place).event.timeMs;
    const appendedMs = args.nowMs();
    const copy = { partition, originOffset, appendedMs, stamp: null, value };
    const [offset] = await log.append([{ ...copy, eventTimeMs }]);
    const copies = letters.copied(place);
    if (isEarly) args.onEarly();
    if (unusable === undefined) {
      const original = content.at(place);
      content.copied(original, { offset: offset!, appendedMs });
      args.onCopy(original, copies);
    }
    batch.push(letter);
    if (random.chance(0.5)) continue;
    await scheduler.gate(actor);
    for (const done of batch) letters.replayed(done);
    batch = [];
  }
  await scheduler.gate(actor);
  for (const done of batch) letters.replayed(done);
}
