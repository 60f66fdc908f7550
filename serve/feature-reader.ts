/**
 * A feature service compiled to a read plan, and the answers to questions put to it.
 *
 * Every feature has a slot; a question is answered slot by slot: the windows of each view from one read of its
 * state, then the on-demand features, inputs before users. All states of a slice of questions are read in one
 * call to the store.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledService, CompiledView } from '../engine/definitions/compiled.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';
import { ProjectionError } from '../engine/definitions/projection-error.ts';
import type { FeatureReference, FeatureView, OnDemandFeature } from '../engine/definitions/types.ts';
import type { EventId } from '../engine/event-id.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { hasLostSince, type ShardMark } from '../engine/store/shard-mark.ts';
import type { FieldName, ReadRequest, ReadState, TileStore } from '../engine/store/tile-store.ts';
import { allocateRows, type RowBlock, setValue } from '../engine/tiles/row-block.ts';
import type { TieLimit } from '../engine/tiles/state-reader.ts';
import { type AskedEvent, WindowRead } from '../engine/windows/window-read.ts';
import { shardOf } from '../ingest/view-writer.ts';
import { ApiError } from './error-catalogue.ts';
import type { FeatureAnswer } from './feature-answer.ts';
import { missingTime } from './missing-time.ts';
import { OnDemandStep } from './on-demand-plan.ts';

/** A request, checked. */
export interface FeatureQuestion {
  /** Entity name → key; every entity of the service. */
  readonly keys: ReadonlyMap<string, string>;
  /** Request data by name; every column the service needs. */
  readonly request: Readonly<Record<string, ColumnValue>>;
  readonly atMs: number;
  /** The event asked about (C10). */
  readonly asked: { readonly source: string; readonly event: DecodedEvent } | null;
}

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
}

export class FeatureReader {
  readonly service: CompiledService;
  /** Names in the order of the answer, with the slot of each. */
  readonly output: readonly { readonly name: string; readonly slot: number }[];
  readonly #options: FeatureReaderOptions;
  readonly #views: readonly ViewPlan[];
  readonly #onDemand: readonly { readonly slot: number; readonly step: OnDemandStep }[];
  readonly #slotCount: number;

  constructor(options: FeatureReaderOptions) {
    const { service } = options;
    this.service = service;
    this.#options = options;
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
   * Answers by slot; see `output`. One call to the store for up to 64 questions.
   * @throws ApiError `store_unavailable`, and `event_not_usable` for a question's event (see `check`)
   */
  async read(questions: readonly FeatureQuestion[]): Promise<FeatureAnswer[][]> {
    const answers: FeatureAnswer[][] = [];
    for (let at = 0; at < questions.length; at += SLICE_QUESTIONS) {
      if (at > 0) await immediate();
      answers.push(...(await this.#readSlice(questions.slice(at, at + SLICE_QUESTIONS))));
    }
    return answers;
  }

  /** Whether the question's event can be used. @throws ApiError `event_not_usable` */
  check(question: FeatureQuestion): void {
    for (const { view } of this.#views) askedOfView(view, question);
  }

  async #readSlice(questions: readonly FeatureQuestion[]): Promise<FeatureAnswer[][]> {
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
          fields: read.fields(question.atMs, askedTimeMs),
          marked: seenMark !== undefined,
        });
        if (seenMark !== undefined) seen.push(seenMark(view, shard));
      }
    }
    let states: ReadState[] = [];
    if (requests.length > 0) {
      try {
        states = await this.#options.store.read(requests);
      } catch (error) {
        throw new ApiError('store_unavailable', 'the tile store cannot be read', {}, { cause: error });
      }
    }
    // The bytes read are valid only until this function yields: from here on nothing is awaited.
    this.#views.forEach(({ view }, v) => {
      behind[v] ||= isCatchingUp(view);
      const found = this.#gapsOf(view);
      if (found !== gaps[v]) gaps[v] = [...gaps[v]!, ...found];
    });
    let next = 0;
    return questions.map((question) => {
      const answers = new Array<FeatureAnswer>(this.#slotCount);
      this.#views.forEach((plan, v) => {
        const state = states[next]!;
        const lost = seenMark !== undefined && hasLostSince(seen[next]!, state.mark ?? null);
        const catchingUp = behind[v]! || lost;
        const lacks = { catchingUp, gaps: gaps[v]! };
        this.#answerView(plan, question, requests[next]!, state, askedOf[next]!, lacks, answers);
        next++;
      });
      for (const { slot, step } of this.#onDemand) {
        answers[slot] = step.answer(answers, question.request, question.atMs);
      }
      return answers;
    });
  }

  #gapsOf(view: CompiledView): readonly LogGap[] {
    return this.#options.gapsOf?.(view) ?? NO_GAPS;
  }

  #answerView(
    { view, read, slots }: ViewPlan,
    question: FeatureQuestion,
    { fields }: ReadRequest,
    state: ReadState,
    { asked, tie }: AskedOfView,
    { catchingUp, gaps }: Lacks,
    answers: FeatureAnswer[],
  ): void {
    try {
      const bytes = new ReadFields(fields, state.fields);
      const values = read.evaluate({ head: state.head, bytes, atMs: question.atMs, asked, tie });
      for (const { feature, value, status, truncated, fromMs, toMs, elements } of values) {
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
        answers[slots.get(feature)!] = answer;
      }
    } catch (error) {
      this.#options.onEvaluationError(view, error);
      for (const slot of slots.values())
        answers[slot] = { value: null, status: 'error', truncated: false, window: null };
    }
  }
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

/** Of some fifty fields a few are looked up: searching is cheaper than a map of all. */
class ReadFields {
  readonly #names: readonly FieldName[];
  readonly #values: readonly (Uint8Array | null)[];

  constructor(names: readonly FieldName[], values: readonly (Uint8Array | null)[]) {
    this.#names = names;
    this.#values = values;
  }

  get(name: FieldName): Uint8Array | null | undefined {
    const at = this.#names.indexOf(name);
    return at < 0 ? undefined : this.#values[at];
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
