/** What goes wrong, when: faults at random steps as the plan of the seed says, or one disturbance at one step. */
import { mergesForGood } from '../engine/tiles/state-update.ts';
import { replayLetters } from './letter-replay.ts';
import type { Occurrence } from './log-content.ts';
import type { Processes } from './processes.ts';
import type { Readers } from './readers.ts';
import { injectRegistryFaults } from './registry-faults.ts';
import { type RunState, SHARDS } from './run-state.ts';
import type { Actor } from './scheduler.ts';

/** Workers at a time. */
const REBUILDS_MAX = 2;

export class FaultInjection {
  readonly #run: RunState;
  readonly #processes: Processes;
  readonly #readers: Readers;
  /** Who replays letters. */
  #replays: Actor[] = [];
  /** Whether the step before was that of who only reads: what goes wrong with the others is as frequent without them. */
  #hasOnlyRead = false;

  constructor(run: RunState, processes: Processes, readers: Readers) {
    this.#run = run;
    this.#processes = processes;
    this.#readers = readers;
  }

  /** The one disturbance of a calm run comes when it is the turn of whoever does step `step`. */
  mayGoOn(actor: Actor): boolean {
    const { disturbance, scheduler, random } = this.#run;
    const reader = this.#readers.of(actor);
    this.#hasOnlyRead = reader !== undefined;
    if (disturbance === null || scheduler.steps !== disturbance.step) return true;
    const worker = this.#processes.workers.find((at) => at.actor === actor);
    switch (disturbance.fault) {
      case 'kill':
        if (reader !== undefined) this.#readers.kill(reader);
        if (worker === undefined) return reader === undefined;
        this.#processes.kill(worker);
        return false;
      case 'suspend':
        if (reader !== undefined) this.#readers.suspend(reader, 100);
        if (worker === undefined) return reader === undefined;
        this.#processes.suspend(worker, 100);
        return false;
      case 'lose reply':
        this.#run.repliesLostUntil = scheduler.steps + 1;
        return true;
      case 'fall back':
      case 'fall back everywhere':
        this.#fallBack(random.between(1, 40), disturbance.fault === 'fall back everywhere');
        return true;
      case 'wipe':
        this.#wipe();
        return true;
    }
  }

  async inject(): Promise<void> {
    const run = this.#run;
    const { random, plan, faults, scheduler } = run;
    const processes = this.#processes;
    processes.forgetEnded();
    if (run.calm) return;
    if (this.#readers.areReading && random.chance(plan.fellBackWhileRead)) {
      faults.add('a shard fell back while a reader read');
      this.#fallBack(random.between(1, 40), false);
    }
    if (this.#hasOnlyRead) return;
    if (random.chance(plan.killed) && processes.workers.length > 0)
      processes.kill(random.pick(processes.workers));
    if (random.chance(plan.suspended) && processes.workers.length > 0) {
      processes.suspend(random.pick(processes.workers), random.between(20, 600));
      // The worst moment for the store to fall back: a zombie holds what it read, and will write.
      if (random.chance(plan.fellBackUnderZombie)) this.#fallBack(random.between(1, 12), false);
    }
    if (random.chance(plan.secondOwner) && processes.workers.length < 10) {
      faults.add('second owner of a partition');
      processes.spawnConsumer(random.below(await run.log.partitions()));
    }
    if (random.chance(plan.fellBack)) this.#fallBack(random.between(1, 40), random.chance(0.3));
    if (random.chance(plan.lettersFail)) {
      faults.add('dead letters failed for a while');
      run.lettersLostUntil = scheduler.steps + random.between(50, 1_000);
    }
    if (random.chance(plan.lossBurst)) {
      faults.add('most replies lost for a while');
      run.repliesLostUntil = scheduler.steps + random.between(20, 100);
    }
    if (random.chance(plan.truncated)) await this.#truncate();
    if (random.chance(plan.wiped)) this.#wipe();
    this.#injectRebuilds();
    injectRegistryFaults(run);
    this.#readers.inject();
    if (!run.mended && random.chance(plan.mended)) this.#mend();
    this.#replays = this.#replays.filter((actor) => actor.alive && !actor.ended);
    const mayReplay = run.letters.pending.length > 0 && this.#replays.length < 2;
    if (mayReplay && random.chance(run.mended ? plan.replayed : plan.replayedEarly)) this.spawnReplay();
    if (this.#replays.length > 0 && random.chance(plan.replayKilled)) {
      faults.add('replay of dead letters killed');
      scheduler.kill(random.pick(this.#replays));
    }
  }

  #injectRebuilds(): void {
    const { random, plan, repo } = this.#run;
    const processes = this.#processes;
    const views = [...repo.views.keys()];
    const rebuilds = processes.workers.filter(({ kind }) => kind === 'rebuild').length;
    if (rebuilds < REBUILDS_MAX && random.chance(plan.rebuilt)) {
      processes.spawnRebuild(random.pick(views), random.chance(0.3));
    }
    if (random.chance(plan.rebuildAborted)) processes.spawnAbort(random.pick(views));
  }

  /** Every process of the broken version ends, and one of the mended version starts. */
  #mend(): void {
    this.#run.faults.add('dead letters mended');
    this.#run.mended = true;
    for (const worker of [...this.#processes.workers]) {
      this.#run.scheduler.kill(worker.actor);
      this.#processes.respawn(worker);
    }
  }

  spawnReplay(): Actor {
    const actor = this.#run.scheduler.spawn('replay of letters', (self) =>
      replayLetters({
        letters: this.#run.letters,
        log: this.#run.log,
        content: this.#run.content,
        random: this.#run.random,
        scheduler: this.#run.scheduler,
        actor: self,
        nowMs: () => this.#run.clock.nowMs(),
        mended: () => this.#run.mended,
        onEarly: () => this.#run.faults.add('dead letter replayed before it was mended'),
        onCopy: (original, copies) => this.#replayed(original, copies),
      }),
    );
    this.#replays.push(actor);
    return actor;
  }

  #replayed(original: Occurrence, copies: number): void {
    this.#run.faults.add('dead letter replayed');
    // A repeat as well, perhaps after the horizon: see `Producer`. So is a second copy, where watermarks may have forgotten
    // what became of the original.
    const isForgotten = copies > 1 && this.#run.content.hadBurst;
    if (this.#run.content.records(original.event) < 2 && !isForgotten) return;
    for (const view of this.#run.repo.views.values()) {
      const key = view.keyOf(original.event.row);
      if ((mergesForGood(view) || view.keepsForever) && key !== null) this.#run.truth.markUnsure(view, key);
    }
  }

  /** One shard, or all of them: a node holds several, and other nodes fail at the same time. */
  #fallBack(mutations: number, everywhere: boolean): void {
    this.#run.faults.add(everywhere ? 'all shards fell back' : 'a shard fell back to an earlier moment');
    const one = this.#run.random.below(SHARDS);
    for (let shard = 0; shard < SHARDS; shard++) {
      if (everywhere || shard === one) this.#run.store.rollback(mutations, { shard });
    }
  }

  #wipe(): void {
    this.#run.faults.add('store wiped');
    this.#run.store.wipe();
  }

  /** Retention drops old records of a partition, whether or not they were applied; the newest stays. */
  async #truncate(): Promise<void> {
    const partition = this.#run.random.below(await this.#run.log.partitions());
    const { startOffset, endOffset } = await this.#run.log.ends(partition);
    if (endOffset - startOffset < 2) return;
    this.#run.faults.add('retention dropped records');
    this.#run.truncated = true;
    const all = {
      keepEventTimeMs: Number.POSITIVE_INFINITY,
      keepAppendedMs: Number.POSITIVE_INFINITY,
      maxBytes: Number.POSITIVE_INFINITY,
    };
    const beforeOffset = this.#run.random.between(startOffset + 1, endOffset - 1);
    await this.#run.log.truncate({ partition, ...all, beforeOffset });
  }
}
