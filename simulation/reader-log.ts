/**
 * The log as a process sees it that does not read it: its partitions and their ends, each asked at a moment of its own.
 * Some of the `MUTATIONS` are planted here.
 */
import type { LogEnds, LogInfo } from '../ingest/log/event-log.ts';
import { LostReplyError } from './faulty-store.ts';
import type { RunState } from './run-state.ts';
import type { Actor } from './scheduler.ts';

export class ReaderLog implements LogInfo {
  readonly source: string;
  readonly #run: RunState;
  readonly #actor: () => Actor;
  readonly #isSilent: () => boolean;
  readonly #endsBefore = new Map<number, LogEnds>();

  /** @param isSilent whether it does not answer, at this step */
  constructor(run: RunState, actor: () => Actor, isSilent: () => boolean) {
    this.source = run.log.source;
    this.#run = run;
    this.#actor = actor;
    this.#isSilent = isSilent;
  }

  async partitions(): Promise<number> {
    await this.#answer();
    return this.#run.log.partitions();
  }

  async identity(partition: number): Promise<string> {
    await this.#answer();
    return this.#run.log.identity(partition);
  }

  async ends(partition: number): Promise<LogEnds> {
    await this.#answer();
    const ends = await this.#run.log.ends(partition);
    if (this.#run.mutation !== 'ends_of_before') return ends;
    const before = this.#endsBefore.get(partition) ?? ends;
    this.#endsBefore.set(partition, ends);
    return before;
  }

  async #answer(): Promise<void> {
    await this.#run.scheduler.gate(this.#actor());
    if (this.#isSilent()) throw new LostReplyError('simulated log');
  }
}
