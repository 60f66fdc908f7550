/**
 * Every namespace of a run: which view's state lies in it, what the records in the store say of it, and whether these change
 * as they may. It looks on at every write, takes no step, and is there in runs that are not watched, too.
 */
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import type { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import type { RecordWrite, StoreRecord, Token, WatermarkName } from '../engine/store/tile-store.ts';
import type { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { bindingName, decodeBinding, type ViewBinding } from '../roles/view-binding.ts';
import type { FaultCounts } from './faults.ts';
import type { LogContent } from './log-content.ts';
import { Mismatch } from './mismatch.ts';

/** How far what is read was applied when somebody began to look whether a rebuild can take its place. */
interface Seen {
  readonly active: string;
  /** Shard → its incarnation, and the next offset of each partition. */
  readonly shards: readonly { readonly incarnation: string; readonly nextOffsets: readonly number[] }[];
}

/** A view is read from somewhere else. */
export interface Switch {
  readonly from: CompiledView;
  readonly to: CompiledView;
  /** Somebody has said that it may lack events. */
  readonly acceptGap: boolean;
  /** Shards that have not fallen back since it was looked whether it can be. */
  readonly steady: readonly number[];
}

/** How often shard 0 had lost something when a record said for the first time that a namespace is retiring. */
type Losses = number;

export class Namespaces {
  readonly #repo: CompiledRepo;
  readonly #store: MemoryTileStore;
  readonly #log: MemoryEventLog;
  readonly #content: LogContent;
  readonly #clock: Clock;
  readonly #clockSkewMs: number;
  readonly #removedAfterMs: number;
  readonly #shards: number;
  readonly #faults: FaultCounts;
  /** Namespace → the view in it. */
  readonly #views = new Map<string, CompiledView>();
  readonly #retired = new Map<string, Losses>();
  #losses: Losses = 0;
  /** Of which a record said, in the end, that nothing is left of them. */
  readonly #removed = new Set<string>();
  /** Shard and namespace of which the states were removed and, of these, those where some may be again. */
  readonly #dropped = new Set<string>();
  readonly #strays = new Set<string>();
  readonly #seen = new Map<Token, Seen>();

  constructor(args: {
    repo: CompiledRepo;
    /** Read past the gates. */
    store: MemoryTileStore;
    log: MemoryEventLog;
    content: LogContent;
    clock: Clock;
    /** How far the clock of a process may be ahead of `clock`, or behind. */
    clockSkewMs: number;
    removedAfterMs: number;
    shards: number;
    faults: FaultCounts;
  }) {
    this.#repo = args.repo;
    this.#store = args.store;
    this.#log = args.log;
    this.#content = args.content;
    this.#clock = args.clock;
    this.#clockSkewMs = args.clockSkewMs;
    this.#removedAfterMs = args.removedAfterMs;
    this.#shards = args.shards;
    this.#faults = args.faults;
    for (const view of args.repo.views.values()) this.#views.set(view.namespace, view);
  }

  /** Every view as it lies in every namespace that it has had. */
  all(): Iterable<CompiledView> {
    return this.#views.values();
  }

  /** The view whose state lies there. */
  viewIn(namespace: string): CompiledView {
    const view = this.#views.get(namespace);
    if (view === undefined) throw new Mismatch(`namespace ${namespace} is written, and no record names it`);
    return view;
  }

  /** Whether states of it were removed on some shard. */
  isRemoved(namespace: string): boolean {
    return [...this.#dropped].some((dropped) => dropped.endsWith(` ${namespace}`));
  }

  async binding(view: CompiledView): Promise<ViewBinding> {
    const [record] = await this.#store.readRecords([bindingName(view)]);
    return decodeBinding(view, record!);
  }

  /** The view as it is read. @param view as defined */
  async active(view: CompiledView): Promise<CompiledView> {
    return this.viewIn((await this.binding(view)).active);
  }

  /** Whether something waits for its removal. */
  async isAnyRetiring(): Promise<boolean> {
    const bindings = await Promise.all([...this.#repo.views.values()].map((view) => this.binding(view)));
    return bindings.some(({ retiring }) => retiring.length > 0);
  }

  /** How far what is read of the view is applied, before somebody looks whether it can be switched. */
  async seenNow(view: CompiledView): Promise<Seen> {
    const { active } = await this.binding(view);
    const shards = Array.from({ length: this.#shards }, async (_, shard) => ({
      incarnation: await this.#store.incarnation(shard),
      nextOffsets: await this.#nextOffsets(shard, active),
    }));
    return { active, shards: await Promise.all(shards) };
  }

  /** Whoever writes a record with this token has looked after `seen`. */
  tokenMade(token: Token, seen: Seen): void {
    this.#seen.set(token, seen);
  }

  /** @returns null: what is read is the same. @throws Mismatch where it may not change so */
  async recordWritten({ name, next }: RecordWrite, before: StoreRecord | null): Promise<Switch | null> {
    const view = [...this.#repo.views.values()].find((known) => bindingName(known) === name)!;
    const was = decodeBinding(view, before);
    const is = decodeBinding(view, next);
    for (const { namespace } of is.retiring) {
      if (!this.#retired.has(namespace)) this.#retired.set(namespace, this.#losses);
    }
    const added = namespacesOf(is).filter((namespace) => !namespacesOf(was).includes(namespace));
    const gone = namespacesOf(was).filter((namespace) => !namespacesOf(is).includes(namespace));
    for (const namespace of added) this.#begun(view, is, namespace);
    for (const namespace of gone) this.#removedFrom(view, was, namespace);
    if (is.active !== was.active) return this.#switched(view, was, is);
    if (was.building !== null && is.building?.namespace !== was.building.namespace) {
      if (!is.retiring.some(({ namespace }) => namespace === was.building!.namespace)) {
        throw new Mismatch(`view ${view.name}: nobody removes the namespace of a rebuild that was aborted`);
      }
      this.#faults.add('rebuild aborted');
    }
    return null;
  }

  stateWritten(shard: number, namespace: string): void {
    if (this.#dropped.has(`${shard} ${namespace}`)) this.#strays.add(`${shard} ${namespace}`);
  }

  /** @throws Mismatch where the namespace is one that somebody reads or applies */
  async watermarksDropped(namespace: string): Promise<void> {
    const view = this.viewIn(namespace);
    const { active, building, retiring } = await this.binding(this.#definition(view));
    const nowMs = this.#clock.nowMs() + this.#clockSkewMs;
    const isDue = retiring.some(
      (entry) => entry.namespace === namespace && nowMs >= entry.untilMs + this.#removedAfterMs,
    );
    const isUsed = active === namespace || building?.namespace === namespace;
    if (isDue && !isUsed) return;
    // The store fell back to a record of before: whoever removes it had read one that is gone.
    if (!retiring.some((entry) => entry.namespace === namespace) && !isUsed) return;
    const losses = this.#retired.get(namespace);
    if (losses !== undefined && losses < this.#losses) return;
    throw new Mismatch(`view ${view.name}: a namespace is removed that is ${isUsed ? 'in use' : 'applied'}`);
  }

  statesDropped(shard: number, namespace: string): void {
    this.#dropped.add(`${shard} ${namespace}`);
    this.#strays.delete(`${shard} ${namespace}`);
  }

  /** What was removed from the shard may be there again. */
  fellBack(shard: number): void {
    if (shard === 0) this.#losses++;
    for (const dropped of this.#dropped) if (dropped.startsWith(`${shard} `)) this.#strays.add(dropped);
  }

  wiped(): void {
    this.#losses++;
  }

  /** @throws Mismatch where something is left of a namespace that was removed, and nobody wrote it afterwards */
  async checkRemoved(when: string): Promise<void> {
    for (const [namespace, view] of this.#views) {
      const binding = await this.binding(this.#definition(view));
      if (binding.retiring.length > 0) {
        throw new Mismatch(`${when}: view ${view.name}: what is retiring was not removed`);
      }
      if (!this.#removed.has(namespace) || namespacesOf(binding).includes(namespace)) continue;
      for (let shard = 0; shard < this.#shards; shard++) {
        if (this.#strays.has(`${shard} ${namespace}`)) continue;
        const states = await this.states(view, shard);
        const isMarked = (await this.#watermarks(shard, namespace)).some((mark) => mark !== null);
        if (states === 0 && !isMarked) continue;
        throw new Mismatch(
          `${when}: view ${view.name}: shard ${shard} has ${states} states of a namespace that was removed` +
            `${isMarked ? ', and a watermark' : ''}`,
        );
      }
    }
  }

  /** How many states of the view, as it lies there, the shard has. */
  async states(view: CompiledView, shard: number): Promise<number> {
    const requests = [...this.#content.keysOf(view)].map(({ key }) => ({
      address: { namespace: view.namespace, key, shard },
      fields: [],
    }));
    return (await this.#store.read(requests)).filter(({ head }) => head !== null).length;
  }

  #begun(view: CompiledView, { building }: ViewBinding, namespace: string): void {
    if (building?.namespace !== namespace || this.#views.has(namespace)) {
      throw new Mismatch(`view ${view.name}: a namespace that is not new comes into its record`);
    }
    this.#views.set(namespace, Object.freeze({ ...view, namespace }));
    this.#faults.add('rebuild begun');
  }

  #removedFrom(view: CompiledView, { retiring }: ViewBinding, namespace: string): void {
    const nowMs = this.#clock.nowMs() + this.#clockSkewMs;
    const entry = retiring.find((was) => was.namespace === namespace);
    if (entry === undefined || nowMs < entry.untilMs + this.#removedAfterMs) {
      throw new Mismatch(`view ${view.name}: its record forgets a namespace that is in use`);
    }
    this.#removed.add(namespace);
    this.#faults.add('namespace removed');
  }

  /** Whoever read the former one before may ask again, and must not find less. */
  async #switched(view: CompiledView, was: ViewBinding, is: ViewBinding): Promise<Switch> {
    if (was.building?.namespace !== is.active || !is.retiring.some((at) => at.namespace === was.active)) {
      throw new Mismatch(`view ${view.name}: switched to a namespace that is not the one being built`);
    }
    this.#faults.add('rebuild became active');
    const seen = this.#seen.get(is.token!);
    const steady: number[] = [];
    const { acceptGap } = was.building;
    const to = { from: this.viewIn(was.active), to: this.viewIn(is.active), acceptGap, steady };
    if (seen === undefined || seen.active !== was.active) return to;
    for (const [shard, { incarnation, nextOffsets }] of seen.shards.entries()) {
      if (incarnation !== (await this.#store.incarnation(shard))) continue;
      steady.push(shard);
      const now = await this.#nextOffsets(shard, is.active);
      for (const [partition, before] of nextOffsets.entries()) {
        if (now[partition]! >= before) continue;
        throw new Mismatch(
          `view ${view.name}: switched to a namespace with ${now[partition]} of the ${before} records that shard ${shard} ` +
            `had of partition ${partition}`,
        );
      }
    }
    return to;
  }

  async #nextOffsets(shard: number, namespace: string): Promise<number[]> {
    return (await this.#watermarks(shard, namespace)).map((mark) => mark?.nextOffset ?? 0);
  }

  async #watermarks(shard: number, namespace: string) {
    return this.#store.readWatermarks(shard, await this.watermarkNames(namespace));
  }

  /** One for each partition. */
  async watermarkNames(namespace: string): Promise<WatermarkName[]> {
    const partitions = await this.#log.partitions();
    return Array.from({ length: partitions }, (_, partition) => ({ namespace, source: 'swipes', partition }));
  }

  #definition({ name }: CompiledView): CompiledView {
    return this.#repo.views.get(name)!;
  }
}

function namespacesOf({ active, building, retiring }: ViewBinding): string[] {
  return [
    active,
    ...(building === null ? [] : [building.namespace]),
    ...retiring.map(({ namespace }) => namespace),
  ];
}
