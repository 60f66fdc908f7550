/**
 * The last answers of a service, for when its store cannot be read (C9, `stale`): only where its definition allows it
 * (`staleFor`), for questions as of now about no event, and of nothing but values that were what they seemed to be.
 *
 * In the memory of this process, bounded by their size: those that were given longest ago go first.
 */
import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import type { Clock } from '../engine/clock.ts';
import type { FeatureAnswer } from './feature-answer.ts';

/** Of one service, roughly. */
export const LAST_ANSWERS_BYTES_MAX = 32 * 1024 * 1024;

/** What an entry, an answer and a value take beside their text and their elements, roughly. */
const ENTRY_BYTES = 250;
const ANSWER_BYTES = 200;
const VALUE_BYTES = 16;

interface Entry {
  readonly answers: readonly FeatureAnswer[];
  readonly givenMs: number;
  readonly bytes: number;
}

export interface LastAnswersOptions {
  /** Older ones are not given, ms. */
  readonly maxAgeMs: number;
  /** Processing time. */
  readonly clock: Clock;
  /** @default 32 MiB */
  readonly bytesMax?: number;
}

export class LastAnswers {
  readonly #maxAgeMs: number;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  /** The longest ago first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor({ maxAgeMs, clock, bytesMax = LAST_ANSWERS_BYTES_MAX }: LastAnswersOptions) {
    this.#maxAgeMs = maxAgeMs;
    this.#clock = clock;
    this.#bytesMax = bytesMax;
  }

  /** Roughly what is kept, bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps them, unless one of them is less than it should be. */
  keep(question: string, answers: readonly FeatureAnswer[]): void {
    if (!answers.every(({ status }) => status === 'present' || status === 'empty')) return;
    this.#forget(question);
    let bytes = ENTRY_BYTES + 2 * question.length;
    for (const { value, windows = [] } of answers) {
      bytes += ANSWER_BYTES + bytesOf(value) + VALUE_BYTES * windows.length;
    }
    if (bytes > this.#bytesMax) return;
    this.#entries.set(question, { answers, givenMs: this.#clock.nowMs(), bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#forget(oldest);
    }
  }

  /** The last ones, marked as such and with their age; null: there are none that are new enough. */
  of(question: string): FeatureAnswer[] | null {
    const entry = this.#entries.get(question);
    if (entry === undefined) return null;
    // A clock may have been set back.
    const ageMs = Math.max(0, this.#clock.nowMs() - entry.givenMs);
    if (ageMs <= this.#maxAgeMs)
      return entry.answers.map((answer) => ({ ...answer, status: 'stale', ageMs }));
    this.#forget(question);
    return null;
  }

  #forget(question: string): void {
    const entry = this.#entries.get(question);
    if (entry === undefined) return;
    this.#entries.delete(question);
    this.#bytes -= entry.bytes;
  }
}

function bytesOf(value: FeatureValue): number {
  if (typeof value === 'string') return VALUE_BYTES + 2 * value.length;
  let bytes = VALUE_BYTES;
  if (Array.isArray(value)) for (const element of value) bytes += bytesOf(element);
  else if (value instanceof Map) {
    for (const [key, element] of value) bytes += 4 * VALUE_BYTES + bytesOf(key) + bytesOf(element);
  }
  return bytes;
}
