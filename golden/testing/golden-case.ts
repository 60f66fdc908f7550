/** A golden file as definitions, events to push, questions to ask and what their answers must be. */
import { operationRegistry } from '../../engine/aggregators/operation-registry.ts';
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import type { CompiledFeature, CompiledRepo, CompiledView } from '../../engine/definitions/compiled.ts';
import { decodeEvent } from '../../engine/definitions/decode-event.ts';
import type { Column, EventRow, Feature, Window } from '../../engine/definitions/types.ts';
import { compareEventIds, type EventId } from '../../engine/event-id.ts';
import {
  type Bounds,
  boundsOf,
  type OracleEvent,
  oracleAnswer,
  valueOfAnswer,
  windowsOf,
} from '../../engine/testing/oracle.ts';
import { type Duration, parseDurationMs } from '../../engine/windows/duration.ts';
import { entity, featureService, featureView, streamSource } from '../../index.ts';
import { type JsonValue, toJson } from '../../serve/json-value.ts';
import {
  COMPACTION,
  type GoldenFeature,
  type GoldenFile,
  type GoldenQuestion,
  type GoldenRow,
} from './golden-file.ts';

/** What is said of one feature. */
export interface Said {
  readonly value: JsonValue;
  readonly status: string;
  readonly truncated: boolean;
  /** Bounds in force: after < event time ≤ until. Left out where the file does not say. */
  readonly window?: { readonly after: string | null; readonly until: string };
}

/** What metadata say of a feature. */
interface FeatureMetadata {
  readonly status: string;
  readonly truncated?: true;
  readonly window?: { readonly after: string | null; readonly until: string };
}

export type PushedEvent = Readonly<Record<string, unknown>>;

export class GoldenCase {
  readonly title: string;
  readonly questions: readonly GoldenQuestion[];
  /** For `compileRepo`, or a deployment that has topics of its own. */
  readonly definitions: readonly unknown[];
  readonly repo: CompiledRepo;
  /** Of the source and of the service. */
  readonly name: string;
  /** The latest time of an event or a question: where a clock stands before anything arrives. */
  readonly startMs: number;
  readonly #file: GoldenFile;
  readonly #view: CompiledView;

  constructor(fileName: string, file: GoldenFile) {
    this.title = `${fileName}: ${file.title}`;
    this.name = fileName.replaceAll('-', '_');
    this.questions = file.questions;
    this.#file = file;
    this.definitions = definitionsOf(this.name, file);
    this.repo = compileRepo(this.definitions);
    this.#view = this.repo.views.get(this.name)!;
    const times = [
      ...this.events.map((event) => Date.parse(event[file.source.event_time] as string)),
      ...file.questions.map(({ at }) => Date.parse(at)),
    ];
    this.startMs = Math.max(...times);
  }

  get operations(): string[] {
    return Object.values(this.#file.view.features).map(({ operation }) => operation);
  }

  get windows(): string[] {
    return this.#view.features.map(({ window }) => window.kind);
  }

  /** Of features with coarse values. */
  get coarseWindows(): string[] {
    const names = this.questions.flatMap(({ coarse }) => Object.keys(coarse));
    return this.#view.features.filter(({ name }) => names.includes(name)).map(({ window }) => window.kind);
  }

  /** In the order of the file. */
  get events(): PushedEvent[] {
    return this.chunks.flat();
  }

  /** Compaction runs between them. */
  get chunks(): PushedEvent[][] {
    const chunks: PushedEvent[][] = [[]];
    for (const row of this.#file.events) {
      if (row === COMPACTION) chunks.push([]);
      else chunks.at(-1)!.push(this.#eventOf(row));
    }
    return chunks;
  }

  /** Of /v1/services/{service}/features. */
  requestOf({ key, at, event }: GoldenQuestion): object {
    const asked = event === undefined ? {} : { event: { source: this.name, data: this.#eventOf(event) } };
    return { entities: { [this.#file.view.entity]: key }, at, ...asked, metadata: true };
  }

  /** Whether the file has values that reach back further once old events were given up. */
  get mayBeCoarse(): boolean {
    return this.questions.some(({ coarse }) => Object.keys(coarse).length > 0);
  }

  /** @param coarse features whose coarse values are expected in place of the exact ones */
  expectedOf(question: GoldenQuestion, coarse: ReadonlySet<string> = new Set()): Record<string, Said> {
    const { expect, empty, truncated, bounds } = question;
    return this.#record(Object.keys(expect), (name) => {
      const exact = bounds[name];
      const reaching = coarse.has(name) ? question.coarse[name] : undefined;
      if (reaching !== undefined) {
        const window = { after: reaching.after, until: exact!.until };
        return { value: reaching.value, status: 'coarse', truncated: truncated.includes(name), window };
      }
      return {
        value: expect[name]!,
        status: empty.includes(name) ? 'empty' : 'present',
        truncated: truncated.includes(name),
        ...(exact === undefined ? {} : { window: exact }),
      };
    });
  }

  /** What the body of an answer says of the features the question is about. */
  saidIn(
    body: {
      readonly features: Readonly<Record<string, JsonValue>>;
      readonly metadata: { readonly features: Readonly<Record<string, FeatureMetadata>> };
    },
    { expect, bounds }: GoldenQuestion,
  ): Record<string, Said> {
    return this.#record(Object.keys(expect), (name) => {
      const { status, truncated = false, window } = body.metadata.features[name]!;
      const said = { value: body.features[name]!, status, truncated };
      return bounds[name] === undefined || window === undefined ? said : { ...said, window };
    });
  }

  /**
   * By the oracle, which knows nothing of what an engine leaves out: that is taken from the question, and so is how far
   * back the coarse ones reach.
   */
  saidByOracle(question: GoldenQuestion, coarse: ReadonlySet<string> = new Set()): Record<string, Said> {
    const atMs = Date.parse(question.at);
    const asked = question.event === undefined ? null : this.#decode(this.#eventOf(question.event));
    const recorded = this.#accepted();
    const known = asked === null || recorded.some((event) => this.#isRepeat(event, asked));
    const events = known ? recorded : [...recorded, asked];
    const last = asked !== null && asked.timeMs === atMs ? { last: asked.id } : {};
    return this.#record(Object.keys(question.expect), (name) => {
      const feature = this.#view.features.find((feature) => feature.name === name)!;
      const bounds = this.#boundsByOracle(question, feature, coarse.has(name));
      const within = coarse.has(name) ? { bounds } : {};
      const ask = (view: CompiledView, of: CompiledFeature, column: string | null): JsonValue =>
        toJson(
          valueOfAnswer(
            oracleAnswer({ view, feature: of, column, key: question.key, atMs, events, ...last, ...within }),
          ),
        );
      const counting = { ...feature, operation: operationRegistry.get('count')!, params: [], empty: 0 };
      const holds = hasCount(ask(withoutOrder(this.#view, name), counting, null));
      const window = { after: isoTime(bounds.fromMs), until: isoTime(bounds.toMs)! };
      return {
        value: ask(this.#view, feature, this.#view.definition.features[name]!.column),
        status: coarse.has(name) ? 'coarse' : holds ? 'present' : 'empty',
        truncated: question.truncated.includes(name),
        ...(question.bounds[name] === undefined ? {} : { window }),
      };
    });
  }

  #boundsByOracle(
    { at, coarse }: GoldenQuestion,
    { name, window }: CompiledFeature,
    isCoarse: boolean,
  ): Bounds {
    const atMs = Date.parse(at);
    // Of a series the bounds in force are those of all its windows together.
    const windows = window.kind === 'series' ? windowsOf(window, atMs) : [boundsOf(window, atMs)];
    const { fromMs, toMs } = { fromMs: windows[0]!.fromMs, toMs: windows.at(-1)!.toMs };
    return isCoarse ? { fromMs: Date.parse(coarse[name]!.after), toMs } : { fromMs, toMs };
  }

  /** Each event once. */
  #accepted(): OracleEvent[] {
    const accepted: OracleEvent[] = [];
    for (const event of this.events.map((event) => this.#decode(event))) {
      if (!accepted.some((other) => this.#isRepeat(other, event))) accepted.push(event);
    }
    return accepted;
  }

  #isRepeat(a: OracleEvent, b: OracleEvent): boolean {
    const { dedupeHorizonMs } = this.#view;
    return compareEventIds(a.id, b.id) === 0 && Math.abs(a.timeMs - b.timeMs) <= dedupeHorizonMs;
  }

  #decode(event: PushedEvent): OracleEvent {
    const decoded = decodeEvent(this.repo.sources.get(this.name)!)(event);
    if (!decoded.ok) throw new Error(`${this.title}: ${JSON.stringify(event)}: ${decoded.message}`);
    return { timeMs: decoded.eventTimeMs, id: decoded.eventId as EventId, row: decoded.row };
  }

  #eventOf(row: GoldenRow): PushedEvent {
    return Object.fromEntries(Object.keys(this.#file.source.columns).map((column, i) => [column, row[i]]));
  }

  #record(names: readonly string[], say: (name: string) => Said): Record<string, Said> {
    return Object.fromEntries(names.map((name) => [name, say(name)]));
  }
}

/** For counting all events of a window, also those without a value in the column that orders them. */
function withoutOrder(view: CompiledView, name: string): CompiledView {
  const { orderBy: _, ...feature } = view.definition.features[name]!;
  return { ...view, definition: { ...view.definition, features: { [name]: feature } } };
}

/** Whether there is a count other than 0 in it: the answer itself, one of a series, or one of groups. */
function hasCount(counts: JsonValue): boolean {
  if (typeof counts === 'object' && counts !== null) return Object.values(counts).some(hasCount);
  return counts !== 0;
}

function definitionsOf(name: string, { source, view }: GoldenFile): readonly unknown[] {
  const stream = streamSource({
    name,
    columns: Object.fromEntries(
      Object.entries(source.columns).map(([column, type]) => [column, columnOf(type)]),
    ),
    eventTime: source.event_time,
    eventId: source.event_id,
    dedupeHorizon: source.dedupe_horizon as Duration,
  } as never);
  const { filter, resolution } = view;
  const defined = featureView({
    name,
    source: stream,
    entity: entity(view.entity),
    features: Object.fromEntries(
      Object.entries(view.features).map(([of, feature]) => [of, featureOf(feature)]),
    ),
    ...(filter === undefined ? {} : { filter: (event: EventRow) => event[filter] === true }),
    ...(resolution === undefined ? {} : { resolution: resolution as Duration }),
    asOfRetention: view.as_of_retention as Duration,
  } as never);
  return [featureService({ name, features: [defined] })];
}

const isoTime = (timeMs: number | null): string | null =>
  timeMs === null ? null : new Date(timeMs).toISOString();

/** `integer` or, where it may be null, `integer?`. */
function columnOf(type: string): Column {
  const nullable = type.endsWith('?');
  return { type: (nullable ? type.slice(0, -1) : type) as ColumnType, nullable };
}

function featureOf({ operation, column, params, order_by, where, by, window }: GoldenFeature): Feature {
  return {
    kind: 'feature',
    operation,
    column: column ?? null,
    params: paramsOf(operation, params),
    ...(order_by === undefined ? {} : { orderBy: order_by }),
    ...(where === undefined ? {} : { where }),
    ...(by === undefined ? {} : { by }),
    window: windowOf(window),
  };
}

/** By the names that the operation gives them. */
function paramsOf(name: string, given: GoldenFeature['params']): number[] {
  const operation = operationRegistry.get(name);
  if (operation === undefined) throw new Error(`there is no operation ${name}`);
  const known = [...operation.params.map((param) => param.name), operation.list?.name];
  const unknown = Object.keys(given).filter((param) => !known.includes(param));
  if (unknown.length > 0) throw new Error(`${name} has no parameter ${unknown.join(', ')}`);
  const params = operation.params.map((param) => given[param.name] ?? param.default);
  return [
    ...params,
    ...(operation.list === undefined ? [] : (given[operation.list.name] as number[])),
  ] as number[];
}

const ms = (duration: string): number => parseDurationMs(duration);

function windowOf(window: GoldenFeature['window']): Window {
  if (window === 'lifetime') return { kind: 'lifetime', offsetMs: 0 };
  if (typeof window === 'string') return { kind: 'sliding', sizeMs: ms(window), offsetMs: 0 };
  if ('size' in window) return { kind: 'sliding', sizeMs: ms(window.size), offsetMs: ms(window.offset) };
  if ('lifetime_offset' in window) return { kind: 'lifetime', offsetMs: ms(window.lifetime_offset) };
  if ('series' in window) {
    const { start, end, size, step } = window.series;
    return { kind: 'series', startMs: ms(start), endMs: ms(end), sizeMs: ms(size), stepMs: ms(step) };
  }
  if ('since_start_of' in window) {
    const { since_start_of: unit, time_zone: timeZone, week_start: weekStart } = window;
    return { kind: 'calendar', unit, timeZone, weekStart };
  }
  const { last_events: count, within } = window;
  return { kind: 'last_events', count, withinMs: within === undefined ? null : ms(within) };
}
