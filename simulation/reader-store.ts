/**
 * The store as a process sees it that answers questions: every state and every look at a shard is read at a moment of its
 * own, between which others write. Some of the `MUTATIONS` are planted here.
 */
import type {
  ReadRequest,
  ReadState,
  RecordWrite,
  ShardLook,
  StateAddress,
  StoreRecord,
  TileStore,
  WatermarkName,
} from '../engine/store/tile-store.ts';
import { LostReplyError } from './faulty-store.ts';
import type { RunState } from './run-state.ts';
import type { Actor } from './scheduler.ts';

/** How far apart a mutation reads what belongs to one instant. */
const APART_STEPS = 12;
/** How long a slow answer takes at most, in steps for each turn that the producer takes over an event. */
const SLOW_STEPS = 16;

export class ReaderStore implements Pick<TileStore, 'read' | 'look' | 'readRecords' | 'compareAndSetRecord'> {
  readonly #run: RunState;
  readonly #actor: () => Actor;
  readonly #isSilent: () => boolean;
  readonly #onRead: (address: StateAddress) => Promise<void>;
  /** Namespace → the state read last. */
  readonly #former = new Map<string, ReadState>();

  constructor(args: {
    run: RunState;
    actor: () => Actor;
    /** Whether it does not answer, at this step. */
    isSilent: () => boolean;
    /** The state there has been read, at this instant. */
    onRead: (address: StateAddress) => Promise<void>;
  }) {
    this.#run = args.run;
    this.#actor = args.actor;
    this.#isSilent = args.isSilent;
    this.#onRead = args.onRead;
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    const states: ReadState[] = [];
    for (const request of requests) states.push(await this.#readOne(request));
    return states;
  }

  async #readOne(request: ReadRequest): Promise<ReadState> {
    const { mutation, store, faults, random, plan, scheduler, faulty } = this.#run;
    if (faulty && random.chance(plan.readerSlow)) {
      faults.add('reader waited long for a state');
      scheduler.suspend(this.#actor(), random.between(1, SLOW_STEPS * plan.turnsPerEvent));
    }
    await this.#answer();
    const { address } = request;
    const early = mutation === 'mark_before_state' ? (await store.look(address.shard, [])).mark : null;
    if (mutation === 'mark_before_state') await this.#wait();
    const [state] = await store.read([request]);
    await this.#onRead(address);
    if (mutation === 'mark_before_state') return { ...state!, mark: early };
    if (mutation !== 'other_key') return state!;
    const former = this.#former.get(address.namespace) ?? state!;
    this.#former.set(address.namespace, state!);
    return former;
  }

  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    await this.#answer();
    const { mutation, store } = this.#run;
    const look = await store.look(shard, names);
    if (mutation !== 'mark_after_watermarks') return look;
    await this.#wait();
    return { watermarks: look.watermarks, mark: (await store.look(shard, [])).mark };
  }

  async readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    await this.#answer();
    return this.#run.store.readRecords(names);
  }

  compareAndSetRecord(_write: RecordWrite): Promise<boolean> {
    throw new Error('who only reads writes no records');
  }

  async #answer(): Promise<void> {
    await this.#run.scheduler.gate(this.#actor());
    if (this.#isSilent()) throw new LostReplyError('simulated store');
  }

  async #wait(): Promise<void> {
    for (let steps = 0; steps < APART_STEPS; steps++) await this.#run.scheduler.gate(this.#actor());
  }
}
