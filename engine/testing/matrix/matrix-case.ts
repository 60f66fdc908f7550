/**
 * One case of the matrix, from a seed: a random repo that aims at one cell, random events in random batches, compaction
 * and questions at random moments while the clock moves. A seed is the whole case, on every store.
 */
import type { StateWriting } from '../../../ingest/view-writer.ts';
import type { ColumnValue } from '../../aggregators/partial-aggregate.ts';
import { ManualClock } from '../../clock.ts';
import type { TileStore } from '../../store/tile-store.ts';
import { SHIFTS, TIME_END_MS } from '../../tiles/grid.ts';
import { PROTOCOL } from '../../tiles/state-protocol.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from '../../tiles/tile-shape.ts';
import { newEdgeOffsetMs } from '../../windows/window-reach.ts';
import { FieldTracker } from '../field-tracker.ts';
import { SeededRandom } from '../random.ts';
import type { RepoTarget } from '../random-repo.ts';
import { checkTree } from '../tree-check.ts';
import { type CaseEvent, CaseEvents } from './case-events.ts';
import { CaseQuestions } from './case-questions.ts';
import { type CaseRepo, caseRepo } from './case-repo.ts';
import { CaseWriting, SHARDS } from './case-writing.ts';
import { targetOf } from './cells.ts';
import type { Coverage } from './coverage.ts';

/** How the accuracy of an operation begins that is exact for few values only, and then within a bound. */
const BOUNDED = /^exact (counts )?up to /;

/** Lengths of tiles. */
const SPANS_MS = SHIFTS.map((shift) => 2 ** shift).filter((ms) => ms <= 2 ** 21);

export class MatrixCase {
  readonly #random: SeededRandom;
  readonly #repo: CaseRepo;
  readonly #clock: ManualClock;
  readonly #tracker: FieldTracker;
  readonly #events: CaseEvents;
  readonly #writing: CaseWriting;
  readonly #questions: CaseQuestions;
  readonly #coverage: Coverage;
  readonly #shape: TileShape;
  readonly #foldAfterMs: number;
  readonly #target: RepoTarget;
  /** The entity key that the aimed questions are about, as its column holds it. */
  readonly #key: ColumnValue;

  constructor(seed: number, store: TileStore, coverage: Coverage) {
    const random = new SeededRandom(seed);
    const target = targetOf(seed);
    const repo = caseRepo(seed, random, target);
    const clock = new ManualClock(repo.startMs);
    this.#random = random;
    this.#repo = repo;
    this.#coverage = coverage;
    this.#clock = clock;
    this.#tracker = new FieldTracker(store);
    this.#shape = {
      leafBytesMax: random.pick([60, 60, 90, 120, 250, 1_000, 4_096]),
      tailRowsMax: random.pick([1, 2, 3, 5, 10, 40]),
      recentIdsMax: this.#recentIdsMax(),
    };
    this.#foldAfterMs = Math.ceil(repo.scaleMs * random.pick([0, 1, 5]));
    this.#target = target;
    this.#key = random.pick(repo.keys.filter((key) => key !== null));
    let tokens = 0;
    const writing: StateWriting = {
      store: this.#tracker,
      clock,
      shards: SHARDS,
      shape: this.#shape,
      pacing: { foldAfterMs: this.#foldAfterMs },
      rules: PROTOCOL,
      newToken: () => (++tokens).toString(16).padStart(16, '0'),
    };
    this.#events = new CaseEvents(random, repo, clock);
    this.#writing = new CaseWriting({ random, repo, events: this.#events, writing, coverage });
    this.#questions = new CaseQuestions({
      ...{ random, repo, clock, events: this.#events, writing: this.#writing, coverage },
      store: this.#tracker,
    });
  }

  /** Where rows may be given up that are younger than a horizon, repeats are told by the recent ids alone. */
  #recentIdsMax(): number {
    const all = DEFAULT_TILE_SHAPE.recentIdsMax;
    const some = this.#random.pick([0, 1, 2, 5, 20, all]);
    return this.#repo.bounded ? all : some;
  }

  /** @throws Mismatch where the engine is not right */
  async run(): Promise<void> {
    const random = this.#random;
    this.#noteDefinitions();
    await this.#startInTail();
    // Many small cases meet more than few large ones: what differs most is what a case begins with.
    for (let steps = random.between(4, 24); steps > 0; steps--) {
      const kind = random.below(10);
      if (kind < 5) this.#produce();
      if (kind < 7) await this.#writing.deliverSome();
      else if (kind === 7) await this.#writing.compact();
      else if (kind === 8) this.#tick();
      else await this.#questions.ask(1);
      // What is given up is seldom seen in the tree that a case ends with.
      if (this.#repo.bounded) this.#checkTrees();
    }
    await this.#writing.deliverAll();
    await this.#questions.ask(3);
    await this.#passPhases();
    this.#checkTrees();
    this.#coverage.cases++;
  }

  // ---- what the case aims at, in every phase of a state

  async #startInTail(): Promise<void> {
    const timeMs = this.#events.inBounds(this.#clock.nowMs());
    await this.#sendAimed([timeMs]);
    await this.#askAimed(timeMs);
  }

  async #passPhases(): Promise<void> {
    const random = this.#random;
    if (BOUNDED.test(this.#target.operation.accuracy) && random.chance(0.3)) await this.#sendMany();
    if (this.#repo.bounded && random.chance(0.5)) await this.#crowdMillisecond();
    const nowMs = this.#clock.nowMs();
    // A few milliseconds apart, so that the shortest window holds them.
    const times = [2, 1, 0].map((agoMs) => this.#events.inBounds(nowMs - agoMs));
    await this.#sendAimed(times);
    const newestMs = times.at(-1)!;
    await this.#askAimed(newestMs);

    this.#advance(this.#foldAfterMs + 1);
    for (let i = 0; i < 3; i++) await this.#writing.compact();
    await this.#questions.ask(3);
    await this.#askAimed(newestMs);

    // In its place behind all others, so that whoever asks about a moment ago finds nothing in the tail.
    const laterMs = this.#events.inBounds(this.#clock.nowMs());
    await this.#sendAimed([laterMs]);
    await this.#askAimed(newestMs);
    await this.#askAimed(laterMs);

    const lateMs = this.#events.inBounds(newestMs - random.below(3));
    await this.#sendAimed([lateMs]);
    await this.#askAimed(random.pick([lateMs, laterMs]));
    await this.#questions.ask(1);
    await this.#askAimed(laterMs);
  }

  /** More than are kept exactly, within the shortest window; fewer than a sketch of quantiles has buckets. */
  async #sendMany(): Promise<void> {
    const random = this.#random;
    const nowMs = this.#clock.nowMs();
    const count = random.between(140, 320);
    await this.#sendAimed(
      Array.from({ length: count }, () => this.#events.inBounds(nowMs - random.below(500))),
    );
    await this.#questions.ask(1);
  }

  /** So many events of the last millisecond of a tile that it is given up, and questions about some of them. */
  async #crowdMillisecond(): Promise<void> {
    const random = this.#random;
    const nowMs = this.#clock.nowMs();
    const spanMs = random.pick(SPANS_MS);
    this.#advance(spanMs - 1 - (nowMs % spanMs));
    const timeMs = this.#events.inBounds(this.#clock.nowMs());
    const sent: CaseEvent[] = [];
    for (let batches = random.between(1, 4); batches > 0; batches--) {
      const times = new Array<number>(random.between(2, 12)).fill(timeMs);
      sent.push(...(await this.#sendAimed(times)));
    }
    if (random.chance(0.5)) await this.#writing.compact();
    for (let i = 0; i < 2; i++) await this.#questions.askAbout(this.#repo.views[0]!, random.pick(sent));
  }

  /** Events of one key at these times, and whatever else has not been delivered. */
  async #sendAimed(times: readonly number[]): Promise<CaseEvent[]> {
    const { keyColumn } = this.#repo.views[0]!.definition;
    const sent = times.map((timeMs) => this.#events.produce(timeMs, { [keyColumn]: this.#key }));
    for (const event of sent) this.#writing.append(event);
    await this.#writing.deliverAll();
    return sent;
  }

  async #askAimed(timeMs: number): Promise<void> {
    const place = { key: String(this.#key), timeMs };
    await this.#questions.askOf(this.#repo.views[0]!, this.#target.windowKind, place);
  }

  // ---- the random steps

  #noteDefinitions(): void {
    for (const view of this.#repo.views) {
      if (view.storages.includes('text_hash')) this.#coverage.meet('text kept, its hash computed');
      if (view.wide.length > 0) this.#coverage.meet('wide partials');
      for (const { name, operation, type, window } of view.features) {
        this.#coverage.meet(`operation ${operation.name} of ${type ?? 'events'}`);
        if (newEdgeOffsetMs(window) > 0) this.#coverage.meet('offset');
        const { where, by } = view.definition.features[name]!;
        if (where !== undefined) this.#coverage.meet('condition');
        if (by !== undefined) this.#coverage.meet('secondary key');
        if (where !== undefined && by !== undefined) this.#coverage.meet('both');
      }
    }
  }

  #tick(): void {
    const { scaleMs } = this.#repo;
    this.#advance(this.#random.pick([0, 1, scaleMs, scaleMs * 10, scaleMs * 40]));
  }

  #advance(byMs: number): void {
    this.#clock.advanceTo(Math.min(this.#clock.nowMs() + Math.floor(byMs), TIME_END_MS - 1));
  }

  #produce(): void {
    const random = this.#random;
    for (let count = random.pick([1, 1, 2, 5, 12]); count > 0; count--) {
      const repeated = random.chance(this.#repo.bounded ? 0.3 : 0.12) ? this.#events.repeatable() : null;
      if (repeated !== null) this.#coverage.meet('event repeated');
      this.#writing.append(repeated ?? this.#events.produce(this.#events.someTime()));
      if (random.chance(0.4)) this.#tick();
    }
  }

  #checkTrees(): void {
    for (const view of this.#repo.views) {
      for (const fields of this.#tracker.statesOf(view.namespace)) {
        const facts = checkTree(view, this.#shape, fields);
        this.#coverage.meet(`tree of depth ${facts.depthMax}`);
        this.#coverage.meet('rows folded', facts.rowCount);
        this.#coverage.meet('rows in collapsed tiles', facts.collapsedRowCount);
        this.#coverage.meet('rows in a prefix', facts.prefixRowCount);
        // Without a resolution only the bound gives up rows.
        if (view.resolutionMs === null && facts.collapsedRowCount > 0) {
          this.#coverage.meet(`rows given up at the bound, ${view.wide.length > 0 ? 'wide' : 'narrow'}`);
        }
      }
    }
  }
}
