/** What must be so when all faults have stopped and everything has caught up, beside the values. */
import { Mismatch } from './mismatch.ts';
import { type RunState, SHARDS } from './run-state.ts';

export class HealedChecks {
  readonly #run: RunState;

  constructor(run: RunState) {
    this.#run = run;
  }

  /** I3: watermarks of what is read stand at the log's end, never beyond. */
  async watermarks(when: string): Promise<void> {
    for (const defined of this.#run.repo.views.values()) {
      const view = await this.#run.namespaces.active(defined);
      for (let partition = 0; partition < (await this.#run.log.partitions()); partition++) {
        const { endOffset } = await this.#run.log.ends(partition);
        for (let shard = 0; shard < SHARDS; shard++) {
          const name = { namespace: view.namespace, source: 'swipes', partition };
          const [watermark] = await this.#run.store.readWatermarks(shard, [name]);
          if (watermark?.unapplied?.isApplied(0) === null)
            this.#run.faults.add('unapplied offsets forgotten');
          const nextOffset = watermark?.nextOffset ?? 0;
          if (nextOffset !== endOffset) {
            throw new Mismatch(
              `${when}: watermark ${nextOffset} of partition ${partition}, log end ${endOffset}`,
            );
          }
        }
      }
    }
  }

  /** What cannot be used is kept for whoever looks after it: every such record at least once. That there is no other is seen when
   * it is written. */
  async letters(when: string): Promise<void> {
    const { content, letters, log, mended } = this.#run;
    const unusable = [...content.unusable(), ...content.letterable.filter(({ poison }) => poison && !mended)];
    for (const place of unusable) {
      const { partition, offset } = place;
      const gone = offset < (await log.ends(partition)).startOffset;
      if (!gone && !letters.has(place))
        throw new Mismatch(`${when}: no dead letter for ${partition}:${offset}`);
    }
  }

  /** What is not in the due index is never folded and never expires. */
  async due(when: string): Promise<void> {
    for (let shard = 0; shard < SHARDS; shard++) {
      let states = 0;
      for (const view of this.#run.namespaces.all()) {
        states += await this.#run.namespaces.states(view, shard);
      }
      const due = await this.#run.store.countDue(shard, Number.POSITIVE_INFINITY);
      if (due !== states) {
        throw new Mismatch(`${when}: ${due} of the ${states} states of shard ${shard} are in the due index`);
      }
    }
  }
}
