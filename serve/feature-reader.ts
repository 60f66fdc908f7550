/**
 * A feature service compiled to a read plan, and the answers to questions put to it.
 *
 * Every feature has a slot; a question is answered slot by slot: the windows of each view from one read of its
 * state, then the on-demand features, inputs before users. All states of a slice of questions are read in one
 * call to the store; for a partial answer in one for each of its shards, so that one that does not answer takes no
 * features of others with it.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledService, CompiledView } from '../engine/definitions/compiled.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';
import { ProjectionError } from '../engine/definitions/projection-error.ts';
import type { FeatureReference, FeatureView, OnDemandFeature } from '../engine/definitions/types.ts';
import type { EventId } from '../engine/event-id.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { ReadFields } from '../engine/store/read-fields.ts';
import { hasLostSince, type ShardMark } from '../engine/store/shard-mark.ts';
import type { ReadRequest, ReadState, TileStore } from '../engine/store/tile-store.ts';
import { allocateRows, type RowBlock, setValue } from '../engine/tiles/row-block.ts';
import type { TieLimit } from '../engine/tiles/window-source.ts';
import { type AskedEvent, WindowRead } from '../engine/windows/window-read.ts';
import { shardOf } from '../ingest/view-writer.ts';
import { DeadlineReads, ReadFailure } from './deadline-reads.ts';
import { ApiError } from './error-catalogue.ts';
import { type FeatureAnswer, withoutValue } from './feature-answer.ts';
import type { LastAnswers } from './last-answers.ts';
import { missingTime } from './missing-time.ts';
import { OnDemandStep } from './on-demand-plan.ts';
import { NOT_TIMED, type StageListener } from './stage-timings.ts';

/** A request, checked. */
export interface FeatureQuestion {
  /** Entity name → key; every entity that the reader's features are of. */
  readonly keys: ReadonlyMap<string, string>;
  /** Request data by name; every column that the reader's features need. */
  readonly request: Readonly<Record<string, ColumnValue>>;
  readonly atMs: number;
  /** The event asked about (C10). */
  readonly asked: { readonly source: string; readonly event: DecodedEvent } | null;
  /** As of now, named neither as a time nor by an event: a last answer may stand in for one. @default false */
  readonly ofNow?: boolean;
}

/** How long a reader may wait, and what it does then. */
export interface ReadTerms {
  /** Until when, on the clock of `performance.now()`; Infinity: as long as the store takes. */
  readonly untilMs: number;
  /** Answer what can be had; else all is refused where some cannot. */
  readonly partial: boolean;
}

const UNHURRIED: ReadTerms = { untilMs: Number.POSITIVE_INFINITY, partial: false };

/** Questions answered before others get a turn on the thread: some 5 ms. */
const SLICE_QUESTIONS = 64;

/** An event without an id comes after every other of its millisecond. */
const LAST_ID: EventId = { hi: 0xffff_ffff, lo: 0xffff_ffff };

interface ViewPlan {
  readonly view: CompiledView;
  readonly read: WindowRead;
  readonly slots: ReadonlyMap<CompiledFeature, number>;
}

/** What one view does with the event of a question. */
interface AskedOfView {
  readonly asked: AskedEvent | null;
  readonly tie: TieLimit | null;
}

const NOT_ASKED: AskedOfView = { asked: null, tie: null };

/** What the states that were read may not have. */
interface Lacks {
  readonly catchingUp: boolean;
  readonly gaps: readonly LogGap[];
}

const NO_GAPS: readonly LogGap[] = [];

/** Questions whose states are read together; by state: question after question, of each view after view. */
interface Slice {
  readonly questions: readonly FeatureQuestion[];
  readonly requests: readonly ReadRequest[];
  readonly askedOf: readonly AskedOfView[];
  /** By view: whether it was catching up before the read, or after a part of it. */
  readonly behind: boolean[];
  /** By view. */
  readonly gaps: (readonly LogGap[])[];
  readonly seen: readonly (ShardMark | null)[];
  /** By question, then by slot. */
  readonly answers: FeatureAnswer[][];
}

export interface FeatureReaderOptions {
  readonly service: CompiledService;
  readonly store: Pick<TileStore, 'read'>;
  readonly shards: number;
  readonly isCatchingUp: (view: CompiledView) => boolean;
  /** What the view lacks of its log for good. @default nothing */
  readonly gapsOf?: (view: CompiledView) => readonly LogGap[];
  /**
   * Where the view's states lie now; asked once for all that is read in one call.
   * @default the namespace of its definition
   */
  readonly namespaceOf?: (view: CompiledView) => string;
  /**
   * The mark that a shard had when the view's positions were seen: what is read later must not have lost anything since.
   * @default the store loses nothing
   */
  readonly seenMark?: (view: CompiledView, shard: number) => ShardMark | null;
  /** A state could not be evaluated; its features have the status `error`. */
  readonly onEvaluationError: (view: CompiledView, error: unknown) => void;
  /** What bounds reads that are given up; shared by the readers of a store. @default one of its own */
  readonly reads?: DeadlineReads;
  /** A partial answer was given without some states. @default nothing is done */
  readonly onPartialRead?: (failure: ReadFailure) => void;
  /** Last answers, and the name of this plan among those of its service. @default none are kept */
  readonly last?: { readonly answers: LastAnswers; readonly plan: string };
  /** Told of every slice's stages. @default nobody */
  readonly stages?: StageListener;
}

export class FeatureReader {
  readonly service: CompiledService;
  /** Names in the order of the answer, with the slot of each. */
  readonly output: readonly { readonly name: string; readonly slot: number }[];
  readonly #options: FeatureReaderOptions;
  readonly #views: readonly ViewPlan[];
  readonly #onDemand: readonly { readonly slot: number; readonly step: OnDemandStep }[];
  readonly #slotCount: number;
  readonly #reads: DeadlineReads;

  constructor(options: FeatureReaderOptions) {
    const { service } = options;
    this.service = service;
    this.#options = options;
    this.#reads = options.reads ?? new DeadlineReads(options.store);
    let slotCount = 0;
    const ofView = new Map<FeatureView, Map<string, number>>();
    this.#views = service.views.map(({ view, features }) => {
      const slots = new Map(features.map((feature) => [feature, slotCount++]));
      ofView.set(view.definition, new Map([...slots].map(([feature, slot]) => [feature.name, slot])));
      return { view, read: new WindowRead(view, features), slots };
    });
    const ofOnDemand = new Map<OnDemandFeature, number>();
    const byName = new Map<string, number>();
    const slotOf = (input: FeatureReference | OnDemandFeature): number =>
      input.kind === 'feature_reference' ? ofView.get(input.view)!.get(input.name)! : ofOnDemand.get(input)!;
    this.#onDemand = service.onDemand.map((feature) => {
      const slot = slotCount++;
      ofOnDemand.set(feature, slot);
      byName.set(feature.name, slot);
      return { slot, step: new OnDemandStep(feature, slotOf) };
    });
    this.output = service.output.map(({ name, view }) => ({
      name,
      slot: view === null ? byName.get(name)! : ofView.get(view.definition)!.get(name)!,
    }));
    this.#slotCount = slotCount;
  }

  /**
   * Answers by slot; see `output`. One call to the store for up to 64 questions, or one for each of its shards.
   * @throws ApiError `store_unavailable` and `deadline_exceeded` unless partial answers will do, and `event_not_usable`
   *   for a question's event (see `check`)
   */
  async read(
    questions: readonly FeatureQuestion[],
    terms: ReadTerms = UNHURRIED,
  ): Promise<FeatureAnswer[][]> {
    const answers: FeatureAnswer[][] = [];
    for (let at = 0; at < questions.length; at += SLICE_QUESTIONS) {
      if (at > 0) await immediate();
      answers.push(...(await this.#readSlice(questions.slice(at, at + SLICE_QUESTIONS), terms)));
    }
    return answers;
  }

  /** Whether the question's event can be used. @throws ApiError `event_not_usable` */
  check(question: FeatureQuestion): void {
    for (const { view } of this.#views) askedOfView(view, question);
  }

  async #readSlice(questions: readonly FeatureQuestion[], terms: ReadTerms): Promise<FeatureAnswer[][]> {
    const { stages = NOT_TIMED } = this.#options;
    const startedMs = performance.now();
    const slice = this.#sliceOf(questions);
    stages.done('plan', startedMs, performance.now());
    const { requests, answers } = slice;
    if (requests.length > 0) {
      const groups = terms.partial ? byShard(requests) : null;
      if (groups === null) await this.#readStates(slice, null, terms);
      else await Promise.all(groups.map((indices) => this.#readStates(slice, indices, terms)));
    }
    if (this.#onDemand.length === 0) return answers;
    const readMs = performance.now();
    questions.forEach((question, q) => {
      for (const { slot, step } of this.#onDemand) {
        answers[q]![slot] = step.answer(answers[q]!, question.request, question.atMs);
      }
    });
    stages.done('on_demand', readMs, performance.now());
    return answers;
  }

  #sliceOf(questions: readonly FeatureQuestion[]): Slice {
    const { shards, isCatchingUp, seenMark, namespaceOf = ({ namespace }) => namespace } = this.#options;
    const requests: ReadRequest[] = [];
    const askedOf: AskedOfView[] = [];
    // Before the read: what is learned of the log meanwhile says nothing of what was read.
    const behind = this.#views.map(({ view }) => isCatchingUp(view));
    const gaps = this.#views.map(({ view }) => this.#gapsOf(view));
    const namespaces = this.#views.map(({ view }) => namespaceOf(view));
    const seen: (ShardMark | null)[] = [];
    for (const question of questions) {
      for (const [v, { view, read }] of this.#views.entries()) {
        const asked = askedOfView(view, question);
        const key = question.keys.get(view.entity.name)!;
        const askedTimeMs = asked.asked?.row.times[0] ?? null;
        const shard = shardOf(key, shards);
        askedOf.push(asked);
        requests.push({
          address: { namespace: namespaces[v]!, key, shard },
          ...read.lookup(question.atMs, askedTimeMs),
          marked: seenMark !== undefined,
        });
        if (seenMark !== undefined) seen.push(seenMark(view, shard));
      }
    }
    const answers = questions.map(() => new Array<FeatureAnswer>(this.#slotCount));
    return { questions, requests, askedOf, behind, gaps, seen, answers };
  }

  /** Reads some of the states of a slice, `null`: all, and answers the views they are of. */
  async #readStates(slice: Slice, indices: readonly number[] | null, terms: ReadTerms): Promise<void> {
    const { stages = NOT_TIMED } = this.#options;
    const { requests, behind, gaps } = slice;
    const own = indices === null ? requests : indices.map((i) => requests[i]!);
    const askedMs = performance.now();
    const states = await this.#reads.read(own, terms.untilMs);
    const answeredMs = performance.now();
    stages.done('store', askedMs, answeredMs);
    if (states instanceof ReadFailure) {
      if (!terms.partial) throw refusal(states);
      this.#options.onPartialRead?.(states);
      own.forEach((_, n) => {
        this.#answerWithoutState(slice, indices?.[n] ?? n, states);
      });
      return;
    }
    // The bytes read are valid only until this function yields: from here on nothing is awaited.
    this.#views.forEach(({ view }, v) => {
      behind[v] ||= this.#options.isCatchingUp(view);
      const found = this.#gapsOf(view);
      if (found !== gaps[v]) gaps[v] = [...gaps[v]!, ...found];
    });
    states.forEach((state, n) => {
      this.#answerOfState(slice, indices?.[n] ?? n, state);
    });
    stages.done('merge', answeredMs, performance.now());
  }

  #answerOfState(slice: Slice, i: number, state: ReadState): void {
    const { questions, requests, askedOf, behind, gaps, seen, answers } = slice;
    const v = i % this.#views.length;
    const q = (i - v) / this.#views.length;
    const plan = this.#views[v]!;
    const lost = this.#options.seenMark !== undefined && hasLostSince(seen[i]!, state.mark ?? null);
    const lacks = { catchingUp: behind[v]! || lost, gaps: gaps[v]! };
    const own = answers[q]!;
    this.#answerView(plan, questions[q]!, requests[i]!, state, askedOf[i]!, lacks, own);
    const { last } = this.#options;
    if (last === undefined || !questions[q]!.ofNow) return;
    last.answers.keep(
      lastName(last.plan, v, requests[i]!),
      [...plan.slots.values()].map((slot) => own[slot]!),
    );
  }

  #answerWithoutState({ questions, requests, answers }: Slice, i: number, { status }: ReadFailure): void {
    const v = i % this.#views.length;
    const q = (i - v) / this.#views.length;
    const { last } = this.#options;
    const known =
      last === undefined || !questions[q]!.ofNow
        ? null
        : last.answers.of(lastName(last.plan, v, requests[i]!));
    let n = 0;
    for (const slot of this.#views[v]!.slots.values())
      answers[q]![slot] = known?.[n++] ?? withoutValue(status);
  }

  #gapsOf(view: CompiledView): readonly LogGap[] {
    return this.#options.gapsOf?.(view) ?? NO_GAPS;
  }

  #answerView(
    { view, read, slots }: ViewPlan,
    question: FeatureQuestion,
    request: ReadRequest,
    state: ReadState,
    { asked, tie }: AskedOfView,
    { catchingUp, gaps }: Lacks,
    answers: FeatureAnswer[],
  ): void {
    try {
      const bytes = new ReadFields(request, state.fields);
      const values = read.evaluate({ head: state.head, bytes, atMs: question.atMs, asked, tie });
      for (const { feature, value, status, truncated, fromMs, toMs, elements, ageMs } of values) {
        const missing = gaps.length === 0 ? null : missingTime(view, gaps, fromMs);
        // No spreads: they would be most of the time this takes.
        const answer: { -readonly [Field in keyof FeatureAnswer]: FeatureAnswer[Field] } = {
          value: Array.isArray(value) ? Object.freeze(value) : value,
          status: catchingUp || missing !== null ? 'catching_up' : status,
          truncated,
          window: { fromMs, toMs },
        };
        if (missing !== null) answer.missing = missing;
        if (elements !== undefined) answer.windows = elements;
        if (ageMs !== undefined && answer.status === 'stale') answer.ageMs = ageMs;
        answers[slots.get(feature)!] = answer;
      }
    } catch (error) {
      this.#options.onEvaluationError(view, error);
      for (const slot of slots.values()) answers[slot] = withoutValue('error');
    }
  }
}

function refusal({ status, cause }: ReadFailure): ApiError {
  return status === 'timed_out'
    ? new ApiError('deadline_exceeded', 'the tile store did not answer by the deadline')
    : new ApiError('store_unavailable', 'the tile store cannot be read', {}, { cause });
}

/** Indices of the requests of each shard; null: they are all of one. */
function byShard(requests: readonly ReadRequest[]): readonly (readonly number[])[] | null {
  const first = requests[0]!.address.shard;
  if (requests.every(({ address }) => address.shard === first)) return null;
  const groups = new Map<number, number[]>();
  requests.forEach(({ address: { shard } }, i) => {
    const group = groups.get(shard);
    if (group === undefined) groups.set(shard, [i]);
    else group.push(i);
  });
  return [...groups.values()];
}

/** One for each plan of the service, view of the plan and key. */
function lastName(plan: string, view: number, { address }: ReadRequest): string {
  return `${plan} ${view} ${address.key}`;
}

/**
 * What a view does with the question's event: events of the same millisecond count only up to it (C6), and it
 * counts itself where its key is the one asked for and the filter lets it through (C10).
 */
function askedOfView(view: CompiledView, question: FeatureQuestion): AskedOfView {
  const { asked } = question;
  if (asked === null || asked.source !== view.source.name) return NOT_ASKED;
  const { row, eventTimeMs, eventId } = asked.event;
  const id = eventId ?? LAST_ID;
  const tie = eventTimeMs === question.atMs ? { timeMs: eventTimeMs, last: id } : null;
  try {
    if (view.keyOf(row) !== question.keys.get(view.entity.name)) return { asked: null, tie };
    const values = view.project(row);
    if (values === null) return { asked: null, tie };
    return { asked: { row: oneRow(view, eventTimeMs, id, values), id, dedupeId: eventId }, tie };
  } catch (error) {
    if (!(error instanceof ProjectionError)) throw error;
    const details = { view: error.view, column: error.column };
    throw new ApiError('event_not_usable', error.message, details, { cause: error });
  }
}

function oneRow(
  view: CompiledView,
  timeMs: number,
  id: EventId,
  values: readonly (number | bigint | string | null)[],
): RowBlock {
  const row = allocateRows(1, view.storages);
  row.times[0] = timeMs;
  row.idHi[0] = id.hi;
  row.idLo[0] = id.lo;
  values.forEach((value, c) => {
    setValue(row, c, 0, value);
  });
  return row;
}
