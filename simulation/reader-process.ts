/**
 * One process that answers questions while everything goes wrong: the real positions, freshness and reader of
 * `millrace serve`, on a clock of its own and what it can see of store and log. Two things go on in it at a time: looks at
 * watermarks and ends of the log, and questions, some of them after waiting until something is applied.
 * Some of the `MUTATIONS` are planted here.
 */
import { LogPositions } from '../distributed/log-positions.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledService, CompiledView } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import type { OracleEvent } from '../engine/testing/oracle.ts';
import { newEdgeOffsetMs } from '../engine/windows/window-reach.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { ApiError } from '../serve/error-catalogue.ts';
import type { FeatureAnswer } from '../serve/feature-answer.ts';
import { type FeatureQuestion, FeatureReader, type FeatureReaderOptions } from '../serve/feature-reader.ts';
import type { Answer } from './answers.ts';
import { LostReplyError } from './faulty-store.ts';
import { Mismatch } from './mismatch.ts';
import type { CurrentBounds, ReadTruth, StateSeen } from './read-truth.ts';
import { ReaderLog } from './reader-log.ts';
import { ReaderStore } from './reader-store.ts';
import { type RunState, SHARDS } from './run-state.ts';
import type { Actor } from './scheduler.ts';
import { POISON_AMOUNT } from './simulation-repo.ts';

/** Keys that have events, and one that has none. */
const CARDS = ['a', 'b', 'c', '', 'nobody'] as const;
const KINDS = ['x', 'y', 'z', 'nothing'] as const;
const LAG_BOUNDS_MS = [1_000, 4_000, 10_000, 30_000] as const;
/** Less than any view's `asOfRetention`. */
const ASKED_BACK_MS = 4_000;
const IDLE_MS = 500;
/** Pauses, in steps of the scheduler for each turn that the producer takes over an event. */
const BETWEEN_LOOKS = 10;
const BETWEEN_QUESTIONS = 2;
const BETWEEN_AWAITED_LOOKS = 2;
const WAITED_ROUNDS = 40;
const AWAITED_SHARE = 0.1;

interface Asked {
  readonly question: FeatureQuestion;
  readonly event: OracleEvent | null;
}

/** Some events have none. */
const cardOf = (row: EventRow): string => (row.card as string | null) ?? 'nobody';

const NOT_WAITED: ReadonlyMap<number, number> = new Map();

export class ReaderProcess {
  readonly #run: RunState;
  readonly #truth: ReadTruth;
  readonly #service: CompiledService;
  readonly #skewMs: number;
  readonly #clock: Clock;
  readonly #progress: IngestProgress;
  readonly #positions: LogPositions;
  readonly #reader: FeatureReader;
  /** Who looks, and who asks. */
  #actors: { readonly looks: Actor; readonly questions: Actor } | null = null;
  #completeLooks = 0;
  #logSilentUntil = 0;
  #storeSilentUntil = 0;
  /** What the question under way has read. */
  #seen: StateSeen[] = [];
  #isBeginning = false;
  /** Whether a question is being answered. */
  isReading = false;

  /** @param args.skewMs how far its clock is ahead of the run's */
  constructor(args: { run: RunState; truth: ReadTruth; repo: CompiledRepo; skewMs: number }) {
    const { run, repo, skewMs } = args;
    const { mutation, random } = run;
    this.#run = run;
    this.#truth = args.truth;
    this.#service = repo.services.get('everything')!;
    this.#skewMs = skewMs;
    this.#clock = { nowMs: () => run.clock.nowMs() + skewMs };
    const clock = this.#clock;
    const Progress = mutation === 'fresh_when_moved' ? FreshWhenMoved : IngestProgress;
    this.#progress = new Progress({ clock, lagBoundMs: random.pick(LAG_BOUNDS_MS) });
    const gaps = new OpenGaps();
    const looking = this.#store(() => this.#actors!.looks);
    const bindings = new ViewBindings({
      views: repo.views.values(),
      store: looking,
      clock,
      newToken: () => random.hex64(),
    });
    const source = repo.sources.get('swipes')!;
    const log = new ReaderLog(
      run,
      () => this.#actors!.looks,
      () => this.#isSilent(this.#logSilentUntil),
    );
    this.#positions = new LogPositions({
      sources: [{ source, log, ingest: () => null }],
      store: looking,
      shards: SHARDS,
      bindings,
      progress: this.#progress,
      gaps,
      eventClock: null,
      clock,
      monotonicMs: () => run.clock.nowMs(),
      beforeLook: async () => {},
      idleMs: IDLE_MS,
      awaitedMs: 0,
      onError: () => {},
    });
    this.#reader = new FeatureReader({
      service: this.#service,
      store: this.#store(() => this.#actors!.questions),
      shards: SHARDS,
      isCatchingUp: (view) => this.#isCatchingUp(view),
      ...(mutation === 'gap_not_told' ? {} : { gapsOf: (view: CompiledView) => gaps.of(view) }),
      namespaceOf: (view) => bindings.active(view).namespace,
      ...(mutation === 'marks_not_compared' ? {} : { seenMark: this.#seenMark }),
      onEvaluationError: (view, error) => {
        throw new Mismatch(`a state of view ${view.name} could not be evaluated: ${String(error)}`);
      },
    });
  }

  has(actor: Actor): boolean {
    return this.#actors !== null && (this.#actors.looks === actor || this.#actors.questions === actor);
  }

  /** Whether it has seen that everything is applied: the worst moment for something to go wrong, as that must be told. */
  get isSure(): boolean {
    const isOpen = this.#completeLooks >= 2 && !this.#positions.isBlind;
    return isOpen && this.#progress.lags().every(({ records }) => records === 0);
  }

  get isBusy(): boolean {
    if (this.#actors === null) return false;
    return [this.#actors.looks, this.#actors.questions].some(({ alive, ended }) => alive && !ended);
  }

  /** Looks and asks as long as anything goes wrong; for the first time, or once more. */
  start(): void {
    const { scheduler } = this.#run;
    this.#actors = {
      looks: scheduler.spawn('reader, looks', (self) => this.#keepLooking(self)),
      questions: scheduler.spawn('reader, questions', (self) => this.#keepAsking(self)),
    };
  }

  kill(): void {
    for (const actor of Object.values(this.#actors ?? {})) this.#run.scheduler.kill(actor);
    this.isReading = false;
  }

  suspend(steps: number): void {
    for (const actor of Object.values(this.#actors ?? {})) this.#run.scheduler.suspend(actor, steps);
  }

  /** The log, or the store, does not answer it for so many steps. */
  blind(what: 'log' | 'store', steps: number): void {
    const until = this.#run.scheduler.steps + steps;
    if (what === 'log') this.#logSilentUntil = until;
    else this.#storeSilentUntil = until;
  }

  /** Everything has healed: it looks, and then each key is asked for. */
  askAll(when: string): Actor {
    this.#logSilentUntil = 0;
    this.#storeSilentUntil = 0;
    const actor = this.#run.scheduler.spawn('reader, all keys', async () => {
      // As at the start, since it may be new.
      for (let looks = 0; looks < 2; looks++) await this.#positions.look();
      const partitions = await this.#run.log.partitions();
      const healedStarts: number[] = [];
      for (let p = 0; p < partitions; p++) healedStarts.push((await this.#run.log.ends(p)).startOffset);
      const bounds = { completeBeforeMs: Number.POSITIVE_INFINITY, waitedFor: NOT_WAITED, healedStarts };
      for (const [i, card] of CARDS.entries()) {
        const question = this.#questionOf(card, KINDS[i % KINDS.length]!, this.#clock.nowMs());
        const asked: Asked[] = [{ question, event: null }];
        if (i === 0) asked.push(this.#someQuestion());
        await this.#ask(when, asked, () => bounds);
      }
    });
    this.#actors = { looks: actor, questions: actor };
    return actor;
  }

  get #goesOn(): boolean {
    return this.#run.faulty || this.#run.clock.nowMs() < this.#run.replayUntilMs;
  }

  async #pause(actor: Actor, steps: number): Promise<void> {
    this.#run.scheduler.suspend(actor, this.#run.random.between(0, steps * this.#run.plan.turnsPerEvent));
    await this.#run.scheduler.gate(actor);
  }

  async #keepLooking(actor: Actor): Promise<void> {
    while (this.#goesOn) {
      await this.#pause(actor, this.#progress.isAwaited ? BETWEEN_AWAITED_LOOKS : BETWEEN_LOOKS);
      try {
        await this.#positions.look();
        this.#completeLooks++;
      } catch (error) {
        if (!(error instanceof LostReplyError)) throw error;
      }
    }
  }

  async #keepAsking(actor: Actor): Promise<void> {
    const { random, clock } = this.#run;
    while (this.#goesOn) {
      await this.#pause(actor, BETWEEN_QUESTIONS);
      // As a process does before it listens.
      if (this.#completeLooks < 2) continue;
      const waitedFor = random.chance(AWAITED_SHARE) ? await this.#waitUntilApplied(actor) : NOT_WAITED;
      if (waitedFor === null) continue;
      const asked = [this.#someQuestion()];
      if (random.chance(0.3)) asked.push(this.#someQuestion());
      await this.#ask('while faults go on', asked, () => ({
        // Records have their time from the run's clock, which may be ahead of this one.
        completeBeforeMs: clock.nowMs() - this.#progress.lagBoundMs + Math.min(0, this.#skewMs),
        waitedFor,
        healedStarts: null,
      }));
    }
  }

  /** As a push with `wait=applied` does for what is in the log now; null: not in time. */
  async #waitUntilApplied(actor: Actor): Promise<ReadonlyMap<number, number> | null> {
    const { log, answers } = this.#run;
    const ends = new Map<number, number>();
    for (let partition = 0; partition < (await log.partitions()); partition++) {
      ends.set(partition, (await log.ends(partition)).endOffset);
    }
    for (const [partition, endOffset] of ends) this.#progress.appended(log.source, partition, endOffset);
    const timeout = new AbortController();
    let isApplied = false;
    void this.#progress.waitUntilApplied(log.source, ends, timeout.signal).then(() => {
      isApplied = !timeout.signal.aborted;
    });
    for (let round = 0; round < WAITED_ROUNDS && !isApplied && this.#goesOn; round++) {
      await this.#pause(actor, BETWEEN_AWAITED_LOOKS);
    }
    if (isApplied) answers.add('read of what was waited for');
    else timeout.abort();
    return isApplied ? ends : null;
  }

  #someQuestion(): Asked {
    const { random, withIds, content } = this.#run;
    const nowMs = this.#clock.nowMs();
    if (withIds && random.chance(0.2)) {
      const recent = content.events().filter(({ timeMs, row }) => {
        return nowMs - ASKED_BACK_MS <= timeMs && timeMs <= nowMs && row.amount !== POISON_AMOUNT;
      });
      if (recent.length > 0) return this.#questionAbout(random.pick(recent));
    }
    const [card, atMs] = random.chance(0.5) ? [random.pick(CARDS), nowMs] : this.#someTime();
    return { question: this.#questionOf(card, random.pick(KINDS), atMs), event: null };
  }

  /** A card and a time not long ago; where there is one, about when an event of the card leaves a window. */
  #someTime(): readonly [card: string, atMs: number] {
    const { random, content } = this.#run;
    const nowMs = this.#clock.nowMs();
    const { window } = random.pick(random.pick(this.#service.views).features);
    const reachMs = newEdgeOffsetMs(window) + ('sizeMs' in window ? window.sizeMs : 0);
    const nearMs = random.pick([-1, 0, 1, random.between(-1_000, 1_000)]);
    const leaving = content.events().filter(({ timeMs }) => {
      const atMs = timeMs + reachMs + nearMs;
      return nowMs - ASKED_BACK_MS <= atMs && atMs <= nowMs;
    });
    if (leaving.length === 0) return [random.pick(CARDS), nowMs - random.between(0, ASKED_BACK_MS)];
    const { row, timeMs } = random.pick(leaving);
    return [cardOf(row), timeMs + reachMs + nearMs];
  }

  #questionAbout(event: OracleEvent): Asked {
    const { row, timeMs, id } = event;
    this.#run.answers.add('read for an event');
    const asked = { ok: true, row, eventTimeMs: timeMs, eventId: id, idText: String(row.id) } as const;
    const question = this.#questionOf(cardOf(row), row.kind as string, timeMs);
    return { question: { ...question, asked: { source: 'swipes', event: asked } }, event };
  }

  #questionOf(card: string, kind: string, atMs: number): FeatureQuestion {
    const keys = new Map(
      this.#service.entities.map(({ name }) => [name, name === 'card' ? card : kind] as const),
    );
    return { keys, request: {}, atMs, asked: null };
  }

  /** @param bounds asked when the answers are there */
  async #ask(when: string, asked: readonly Asked[], bounds: () => CurrentBounds): Promise<void> {
    const { answers: counts, faults, store, watched } = this.#run;
    const { views } = this.#service;
    const lost = (): number =>
      faults.times('a shard fell back to an earlier moment') +
      faults.times('all shards fell back') +
      faults.times('store wiped');
    const before = { lost: lost(), changes: store.changes };
    const behind = new Set(views.filter(({ view }) => this.#positions.isCatchingUp(view)));
    this.#seen = [];
    this.#isBeginning = true;
    const reading = this.#reader.read(asked.map(({ question }) => question));
    this.#isBeginning = false;
    let read: FeatureAnswer[][];
    this.isReading = true;
    try {
      read = await reading;
    } catch (error) {
      const isRefused = error instanceof ApiError && error.cause instanceof LostReplyError;
      if (!isRefused || error.code !== 'store_unavailable') throw error;
      counts.add('read refused: the store did not answer');
      return;
    } finally {
      this.isReading = false;
    }
    if (lost() > before.lost) counts.add('read while the store fell back or was wiped');
    if (store.changes > before.changes) counts.add('read while states were written');
    const isHealed = bounds().healedStarts !== null;
    for (const [q, { question, event }] of asked.entries()) {
      const answers = new Map(this.#reader.output.map(({ name, slot }) => [name, read[q]![slot]!]));
      for (const at of views) {
        for (const { name } of at.features) {
          const kind = this.#kindOf(at.view, answers.get(name)!, behind.has(at));
          // Edges become coarse when old events have been compacted: rarely before all has healed.
          if (!isHealed || kind === 'coarse') counts.add(kind);
        }
      }
      if (!watched) continue;
      const seen = this.#seen.slice(q * views.length, (q + 1) * views.length);
      this.#truth.check(this.#service, { when, question, asked: event, answers, seen, bounds: bounds() });
    }
  }

  #kindOf(view: CompiledView, { status, missing }: FeatureAnswer, wasBehind: boolean): Answer {
    if (status === 'error' || status === 'stale' || status === 'timed_out')
      throw new Mismatch(`a feature of view ${view.name} has the status ${status}`);
    if (status !== 'catching_up') return status;
    if (missing !== undefined) return 'catching up: records are missing for good';
    if (this.#positions.isBlind) return 'catching up: log or store not seen for too long';
    if (wasBehind || this.#progress.isCatchingUp(view)) return 'catching up: behind the log';
    return 'catching up: the store lost something since';
  }

  #isCatchingUp(view: CompiledView): boolean {
    const { mutation } = this.#run;
    if (mutation === 'behind_asked_late' && this.#isBeginning) return false;
    return this.#positions.isCatchingUp(view);
  }

  readonly #seenMark: FeatureReaderOptions['seenMark'] & {} = (view, shard) =>
    this.#positions.seenMark(view, this.#run.mutation === 'other_shard' ? (shard + 1) % SHARDS : shard);

  #store(actor: () => Actor): ReaderStore {
    return new ReaderStore({
      run: this.#run,
      actor,
      isSilent: () => this.#isSilent(this.#storeSilentUntil),
      onRead: async (address) => {
        if (this.#run.watched) this.#seen.push(await this.#truth.stateSeen(address));
      },
    });
  }

  #isSilent(until: number): boolean {
    const { faulty, scheduler, random, plan } = this.#run;
    return faulty && (scheduler.steps < until || random.chance(plan.readerUnanswered));
  }
}

/** What is found in the log counts as appended at the moment at which it is found. */
class FreshWhenMoved extends IngestProgress {
  override endSeen(source: string, partition: number, endOffset: number, seenMs: number): void {
    super.endSeen(source, partition, this.ends(source).get(partition)!, seenMs);
    super.endSeen(source, partition, endOffset, seenMs);
  }
}
