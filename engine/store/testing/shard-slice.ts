/**
 * Some shards of a store as if they were all: tests that run at the same time over one store keep out of each other's
 * due index and watermarks.
 */
import type { CompareAndSet, DueEntry, MoveWatermark, ReadRequest, StateAddress } from '../tile-store.ts';
import { ForwardingStore } from './forwarding-store.ts';

export class ShardSlice extends ForwardingStore {
  readonly #first: number;

  /** @param first the shard that is called 0 here */
  constructor(to: ForwardingStore['to'], first: number) {
    super(to);
    this.#first = first;
  }

  override incarnation(shard: number) {
    return super.incarnation(this.#first + shard);
  }

  override read(requests: readonly ReadRequest[]) {
    return super.read(requests.map((request) => this.#moved(request)));
  }

  override compareAndSet(writes: readonly CompareAndSet[]) {
    return super.compareAndSet(writes.map((write) => this.#moved(write)));
  }

  override readWatermarks(shard: number, names: Parameters<ForwardingStore['readWatermarks']>[1]) {
    return super.readWatermarks(this.#first + shard, names);
  }

  override look(shard: number, names: Parameters<ForwardingStore['look']>[1]) {
    return super.look(this.#first + shard, names);
  }

  override moveWatermarks(moves: readonly MoveWatermark[]) {
    return super.moveWatermarks(moves.map((move) => ({ ...move, shard: this.#first + move.shard })));
  }

  override async leaseDue(args: Parameters<ForwardingStore['leaseDue']>[0]) {
    const entries = await super.leaseDue({ ...args, shard: this.#first + args.shard });
    return entries.map((entry) => this.#moved(entry, -this.#first));
  }

  override postponeDue(entries: readonly DueEntry[], untilMs: number) {
    return super.postponeDue(
      entries.map((entry) => this.#moved(entry)),
      untilMs,
    );
  }

  override countDue(shard: number, nowMs: number) {
    return super.countDue(this.#first + shard, nowMs);
  }

  override earliestDueMs(shard: number) {
    return super.earliestDueMs(this.#first + shard);
  }

  override dropWatermarks(shard: number, namespace: string) {
    return super.dropWatermarks(this.#first + shard, namespace);
  }

  override dropStates(args: Parameters<ForwardingStore['dropStates']>[0]) {
    return super.dropStates({ ...args, shard: this.#first + args.shard });
  }

  #moved<T extends { readonly address: StateAddress }>(item: T, by = this.#first): T {
    return { ...item, address: { ...item.address, shard: item.address.shard + by } };
  }
}
