/**
 * The read path of one case: questions at random as-of times, mostly with an event exactly at an edge, about events
 * recorded or not, each value against the oracle.
 */
import { isDeepStrictEqual } from 'node:util';
import { shardOf } from '../../../ingest/view-writer.ts';
import { ByteReader } from '../../bytes.ts';
import type { ManualClock } from '../../clock.ts';
import type { CompiledView } from '../../definitions/compiled.ts';
import { compareEventIds, type EventId } from '../../event-id.ts';
import { fieldsOf, ReadFields } from '../../store/read-fields.ts';
import type { ReadState, TileStore } from '../../store/tile-store.ts';
import { ROOT_FIELD, spanMs, TIME_END_MS } from '../../tiles/grid.ts';
import { decodeRootHeader } from '../../tiles/node.ts';
import { allocateRows, setValue } from '../../tiles/row-block.ts';
import { newEdgeOffsetMs, seriesLength } from '../../windows/window-reach.ts';
import { type AskedEvent, WindowRead, type WindowValue } from '../../windows/window-read.ts';
import { isRight, show, showAnswer } from '../is-right.ts';
import {
  type Bounds,
  boundsOf,
  columnValueOf,
  eventsOfKey,
  isTruncated,
  type OracleEvent,
  oracleAnswer,
  valueOfAnswer,
  windowsOf,
} from '../oracle.ts';
import type { SeededRandom } from '../random.ts';
import type { CaseEvent, CaseEvents } from './case-events.ts';
import type { CaseRepo } from './case-repo.ts';
import { type CaseWriting, SHARDS } from './case-writing.ts';
import type { WindowKind } from './cells.ts';
import type { Coverage } from './coverage.ts';
import { Mismatch } from './mismatch.ts';
import { tailOf } from './state-phases.ts';

/** Length of the longest tile: a value at the bound of its state is off by less. */
const TILE_MAX_MS = spanMs(1);

interface Asked {
  readonly event: CaseEvent;
  readonly recorded: boolean;
}

/** What the values of one answer have in common. */
interface Answer {
  readonly view: CompiledView;
  readonly key: string;
  readonly atMs: number;
  /** All that may count, the event asked about included. */
  readonly events: readonly OracleEvent[];
  readonly last: EventId | undefined;
}

/** A state as it was read, and what is asked of it. */
interface Asking {
  readonly asked: Asked | null;
  /** Names of the rows in the head. */
  readonly tail: ReadonlySet<string>;
  /** What sequence operations say of the time before is not exact: a collapsed tile there took in late events. */
  readonly unorderedBeforeMs: number;
}

interface CaseQuestionsArgs {
  readonly random: SeededRandom;
  readonly repo: CaseRepo;
  readonly clock: ManualClock;
  readonly events: CaseEvents;
  readonly writing: CaseWriting;
  readonly store: TileStore;
  readonly coverage: Coverage;
}

export class CaseQuestions {
  readonly #args: CaseQuestionsArgs;

  constructor(args: CaseQuestionsArgs) {
    this.#args = args;
  }

  /** @param times questions to each view */
  async ask(times: number): Promise<void> {
    const { random, repo, clock, writing } = this.#args;
    for (const view of repo.views) {
      const applied = writing.countedBy(view);
      for (let i = 0; i < times; i++) {
        const asked = random.chance(repo.bounded ? 0.6 : 0.35) ? this.#askedEvent(view) : null;
        const atMs =
          asked !== null && random.chance(0.7) ? asked.event.timeMs : this.#someTime(view, applied);
        if (atMs < clock.nowMs() - view.asOfRetentionMs) continue;
        const key =
          asked !== null && random.chance(0.8) ? view.keyOf(asked.event.row) : String(random.pick(repo.keys));
        if (key !== null) await this.#compareView(view, key, atMs, applied, asked);
      }
    }
  }

  /** One question to a view, about a key whose event at this time is just within its window of the kind. */
  async askOf(
    view: CompiledView,
    kind: WindowKind,
    { key, timeMs }: { key: string; timeMs: number },
  ): Promise<void> {
    const { random, clock, writing } = this.#args;
    const { window } = view.features.find((feature) => feature.window.kind === kind)!;
    const offsetMs = window.kind === 'series' ? window.endMs : newEdgeOffsetMs(window);
    const atMs = timeMs + offsetMs + random.pick([0, 0, 1]);
    if (atMs < clock.nowMs() - view.asOfRetentionMs || atMs >= TIME_END_MS) return;
    await this.#compareView(view, key, atMs, writing.countedBy(view), null);
  }

  /** A question to a view, at its time, about an event that was recorded, or one like it where none can be named. */
  async askAbout(view: CompiledView, sent: CaseEvent): Promise<void> {
    const { clock, events, repo, writing } = this.#args;
    const key = view.keyOf(sent.row);
    if (key === null || sent.timeMs < clock.nowMs() - view.asOfRetentionMs) return;
    const asked =
      repo.idKind === 'none'
        ? { event: events.make(sent.timeMs), recorded: false }
        : { event: sent, recorded: true };
    await this.#compareView(view, key, sent.timeMs, writing.countedBy(view), asked);
  }

  /** Mostly an as-of time at which an event stands exactly at an edge of a window, or a millisecond beside it. */
  #someTime(view: CompiledView, events: readonly OracleEvent[]): number {
    const { random, clock, repo } = this.#args;
    const nowMs = clock.nowMs();
    const oldestMs = Math.max(0, nowMs - view.asOfRetentionMs);
    const clamp = (timeMs: number): number => Math.max(oldestMs, Math.min(timeMs, TIME_END_MS - 1));
    if (events.length === 0 || random.chance(0.1)) return nowMs;
    if (random.chance(0.1)) return clamp(random.between(oldestMs, nowMs + 2 * Math.ceil(repo.scaleMs)));
    for (let attempt = 0; attempt < 8; attempt++) {
      const { timeMs } = random.pick(events);
      const { window } = random.pick(view.features);
      // At the old edge of the window, or of one of a series, or at the new edge.
      const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
      const step = window.kind === 'series' ? random.below(seriesLength(window)) * window.stepMs : 0;
      const offset = window.kind === 'series' ? window.endMs + step : newEdgeOffsetMs(window);
      const atMs = timeMs + offset + size + random.between(-1, 1);
      if (atMs >= oldestMs && atMs < TIME_END_MS) return atMs;
    }
    return clamp(nowMs - random.below(3));
  }

  /** An event to ask about, recorded or not. */
  #askedEvent(view: CompiledView): Asked {
    const { random, repo, clock, events, writing } = this.#args;
    if (random.chance(0.6)) {
      // Of what is merged for good nobody can say whether it was recorded; nor is it asked for any more.
      const oldestMs = clock.nowMs() - view.asOfRetentionMs;
      const recorded = [...writing.applied.keys()].filter(({ timeMs }) => timeMs >= oldestMs);
      if (recorded.length > 0 && repo.idKind !== 'none') {
        return { event: random.pick(recorded), recorded: true };
      }
    }
    const near = events.produced.at(-1);
    const timeMs = near !== undefined && random.chance(0.5) ? near.timeMs : events.someTime();
    return { event: events.make(timeMs), recorded: false };
  }

  async #compareView(
    view: CompiledView,
    key: string,
    atMs: number,
    applied: readonly OracleEvent[],
    asked: Asked | null,
  ): Promise<void> {
    const { random, store, coverage } = this.#args;
    const features = random.chance(0.7) ? view.features : view.features.filter(() => random.chance(0.6));
    const read = new WindowRead(view, features);
    const question = asked === null ? null : this.#question(view, key, asked.event);
    const askedTimeMs = question?.asked == null ? null : asked!.event.timeMs;
    const tie =
      question !== null && asked!.event.timeMs === atMs ? { timeMs: atMs, last: question.id } : null;
    const lookup = read.lookup(atMs, askedTimeMs);
    const address = { namespace: view.namespace, key, shard: shardOf(key, SHARDS) };
    const [state, spared] = await store.read([
      { address, fields: fieldsOf(lookup) },
      { address, ...lookup },
    ]);
    if (state!.fields.every((value, f) => value === null || f < lookup.fields.length))
      coverage.meet('root alone');
    checkSame(state!, spared!);
    const bytes = new ReadFields(lookup, spared!.fields);
    const values = read.evaluate({ head: state!.head, bytes, atMs, asked: question?.asked ?? null, tie });
    if (values.length !== features.length) throw new Mismatch('a feature has no value');
    const counted: readonly OracleEvent[] =
      question === null || asked!.recorded
        ? applied
        : [...applied, { timeMs: asked!.event.timeMs, id: question.id, row: asked!.event.row }];
    if (asked !== null) coverage.meet(asked.recorded ? 'asked, recorded' : 'asked, not recorded');
    const root = bytes.get(ROOT_FIELD) ?? null;
    const asking = {
      asked,
      tail: tailOf(view, state!.head),
      unorderedBeforeMs: root === null ? 0 : decodeRootHeader(new ByteReader(root)).unorderedBeforeMs,
    };
    const answer = { view, key, atMs, events: eventsOfKey(view, key, counted), last: tie?.last };
    const others = this.#mayBeCollapsed(view, asked)
      ? [counted, applied].flatMap((some) => {
          const events = eventsOfKey(view, key, some);
          return [tie?.last, undefined].map((last) => ({ ...answer, events, last }));
        })
      : [];
    for (const value of values) {
      this.#compareValue(value.status === 'coarse' ? [answer, ...others] : [answer], asking, value);
    }
  }

  /**
   * Whether the event asked about may lie in a tile whose rows were given up: nobody can then say if it is one of them,
   * nor which of the events of its millisecond are behind it.
   */
  #mayBeCollapsed(view: CompiledView, asked: Asked | null): boolean {
    const { repo, clock } = this.#args;
    if (asked === null) return false;
    if (repo.bounded) return true;
    // Coarsened rows; of so old an event it is not asked but by chance.
    return view.resolutionMs !== null && asked.event.timeMs < clock.nowMs() - view.asOfRetentionMs;
  }

  /** As serve/feature-reader.ts does it. */
  #question(view: CompiledView, key: string, event: CaseEvent): { asked: AskedEvent | null; id: EventId } {
    const { repo, events } = this.#args;
    const unknown = repo.idKind === 'none';
    const id = unknown ? { hi: 0xffff_ffff, lo: 0xffff_ffff } : events.idOf(event, 0, 0);
    if (view.keyOf(event.row) !== key) return { asked: null, id };
    const values = view.project(event.row);
    if (values === null) return { asked: null, id };
    const row = allocateRows(1, view.storages);
    row.times[0] = event.timeMs;
    row.idHi[0] = id.hi;
    row.idLo[0] = id.lo;
    values.forEach((value, c) => {
      setValue(row, c, 0, value);
    });
    return { asked: { row, id, dedupeId: unknown ? null : id }, id };
  }

  /** @param answers of which one is right */
  #compareValue(answers: readonly Answer[], asking: Asking, got: WindowValue): void {
    const { coverage } = this.#args;
    const bounds = (got.elements ?? [got]).map((element, i) =>
      this.#boundsOf(answers[0]!, asking, element, i),
    );
    coverage.values++;
    let mismatch: string | null = null;
    for (const answer of answers) {
      const wrong = this.#wrongOf(answer, got, bounds);
      if (wrong === null) {
        this.#meet(answer, asking, got, bounds);
        if (answer !== answers[0]) coverage.meet('asked of a collapsed tile');
        return;
      }
      mismatch ??= wrong;
    }
    throw new Mismatch(mismatch!);
  }

  /** What is wrong with a value that has these bounds; null: nothing is. */
  #wrongOf(answer: Answer, got: WindowValue, bounds: readonly Bounds[]): string | null {
    const { view, key, atMs, events, last } = answer;
    const { feature, status } = got;
    const { column } = view.definition.features[feature.name]!;
    const expected = oracleAnswer({
      ...{ view, feature, column, key, atMs, events },
      ...(last === undefined ? {} : { last }),
      bounds: got.elements === undefined ? bounds[0]! : bounds,
    });
    if (!isRight({ feature, expected, got: got.value, atMs })) {
      return `${this.#where(answer, got)}: expected ${showAnswer(expected)}, got ${show(got.value)}`;
    }
    const truncated = isTruncated(feature, expected);
    if (truncated !== null && truncated !== got.truncated)
      return `${this.#where(answer, got)}: ${got.truncated ? '' : 'not '}marked as truncated`;
    // Right, within the bound that the operation declares.
    if (!isDeepStrictEqual(valueOfAnswer(expected), got.value))
      this.#args.coverage.meet(`approximate ${feature.operation.name}`);
    const counted = countedEvents(answer, feature.name, bounds);
    return status !== 'coarse' && (status === 'empty') !== (counted.length === 0)
      ? `${this.#where(answer, got)}: the status with ${counted.length} events in the window`
      : null;
  }

  #meet(answer: Answer, { tail }: Asking, got: WindowValue, bounds: readonly Bounds[]): void {
    const { coverage, writing, repo } = this.#args;
    const { view, key } = answer;
    const { feature, status, truncated } = got;
    coverage.meet(status);
    if (truncated) coverage.meet('truncated');
    const coarsened = repo.bounded && status === 'coarse';
    if (repo.bounded && feature.partials.some((index) => index >= view.narrow.length))
      coverage.meet(`wide partials ${coarsened ? 'coarse' : 'exact'} at the bound`);
    if (coarsened) {
      // Cells are met by what was asked for, not by what was left of it.
      coverage.meet(`coarse at the bound, ${feature.window.kind}`);
      return;
    }
    const phase = writing.phases.phaseOf(view, key, tail, countedEvents(answer, feature.name, bounds));
    if (phase !== null) coverage.meetCell(feature, view.resolutionMs !== null, phase);
  }

  /** The bounds a value says it has, if it may have them. */
  #boundsOf(answer: Answer, asking: Asking, value: WindowValue, element: number): Bounds {
    const { asked, unorderedBeforeMs } = asking;
    const { coverage, repo } = this.#args;
    const { bounded } = repo;
    const { view, atMs } = answer;
    const { feature, status, fromMs, toMs } = value;
    const { window } = feature;
    const right = window.kind === 'series' ? windowsOf(window, atMs)[element]! : boundsOf(window, atMs);
    const fail = (what: string): never => {
      throw new Mismatch(`${this.#where(answer, value)}: ${what}`);
    };
    if (toMs !== right.toMs) {
      const errorMs = right.toMs - toMs;
      if (!bounded || status !== 'coarse' || errorMs < 0 || errorMs > TILE_MAX_MS)
        fail(`the new edge moved by ${errorMs} ms`);
      coverage.meet('new edge before a collapsed tile');
    }
    if (status !== 'coarse') {
      if (fromMs !== right.fromMs) fail('the old edge moved');
    } else if (window.kind === 'lifetime') {
      if (fromMs !== null || (!this.#mayBeCollapsed(view, asked) && !bounded))
        fail('a lifetime window has an old edge');
    } else if (window.kind === 'last_events') {
      coverage.meet('last events incomplete');
    } else if (feature.operation.sequence === true && Math.max(right.fromMs! + 1, 0) < unorderedBeforeMs) {
      // It begins where nothing is out of its order, or is about nothing.
      const errorMs = fromMs! + 1 - Math.min(unorderedBeforeMs, toMs + 1);
      if (errorMs < 0 || errorMs > TILE_MAX_MS) fail(`a sequence begins ${errorMs} ms off`);
      coverage.meet('sequence over late events of a collapsed tile');
    } else {
      coverage.meet('coarse value');
      const errorMs = right.fromMs! - fromMs!;
      const leastMs = bounded || this.#mayBeCollapsed(view, asked) ? 0 : 1;
      const mostMs = bounded ? TILE_MAX_MS : (view.resolutionMs ?? 0);
      if (errorMs < leastMs || errorMs > mostMs) fail(`the old edge is off by ${errorMs} ms`);
    }
    return { fromMs, toMs };
  }

  #where({ view, key, atMs, last }: Answer, { feature, status }: WindowValue): string {
    return (
      `${view.name}.${feature.name} (${feature.operation.name} of ${feature.type}) of key '${key}' at ` +
      `now ${atMs - this.#args.clock.nowMs()} ms, window ${JSON.stringify(feature.window)}, status ${status}` +
      `${last === undefined ? '' : ', for an event'}`
    );
  }
}

/** Events in the windows that count for the feature. */
function countedEvents(answer: Answer, feature: string, windows: readonly Bounds[]): readonly OracleEvent[] {
  return windows.flatMap((bounds) => countedWithin(answer, feature, bounds));
}

function countedWithin(answer: Answer, feature: string, { fromMs, toMs }: Bounds): readonly OracleEvent[] {
  const { view, atMs, events, last } = answer;
  const { where, by, window } = view.definition.features[feature]!;
  let counted = events.filter(
    ({ timeMs, id, row }) =>
      (fromMs === null || fromMs < timeMs) &&
      timeMs <= toMs &&
      (last === undefined || timeMs < atMs || compareEventIds(id, last) <= 0) &&
      (where === undefined || columnValueOf(view, row, where) === true),
  );
  if (window.kind === 'last_events') {
    counted = counted.sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id)).slice(-window.count);
  }
  return by === undefined
    ? counted
    : counted.filter(({ row }) => columnValueOf(view, row, by.column) !== null);
}

/** What is not looked for, as nothing of the tier before it is there, must be absent. */
function checkSame(whole: ReadState, spared: ReadState): void {
  whole.fields.forEach((value, i) => {
    const other = spared.fields[i]!;
    if ((value === null) !== (other === null) || (value !== null && !bytesEqual(value, other!)))
      throw new Mismatch(`field ${i} differs where fields are read in tiers`);
  });
}

const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
