/**
 * The bindings of a process's views: which namespace it reads, which it applies, which it compacts. All of them change
 * only by `adopt`, at one instant; whoever asks in between gets one and the same answer.
 */
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore, Token } from '../engine/store/tile-store.ts';
import { bindingName, decodeBinding, encodeBinding, type ViewBinding } from './view-binding.ts';

export interface ViewBindingsOptions {
  readonly views: Iterable<CompiledView>;
  readonly store: Pick<TileStore, 'readRecords' | 'compareAndSetRecord'>;
  /** Processing time. */
  readonly clock: Clock;
  readonly newToken: (previous: Token | null) => Token;
}

export class ViewBindings {
  readonly #options: ViewBindingsOptions;
  readonly #adopted = new Map<CompiledView, ViewBinding>();
  /** Namespace → the view as it lies there; those adopted and those of before. */
  readonly #bound = new Map<string, CompiledView>();
  readonly #definitions = new Map<CompiledView, CompiledView>();
  readonly #applied = new Map<CompiledSource, readonly CompiledView[]>();

  constructor(options: ViewBindingsOptions) {
    this.#options = options;
    for (const view of options.views) this.adopt(view, decodeBinding(view, null));
  }

  /** What the store has now; nothing changes here by that. @throws StoreFormatError */
  async read(views: readonly CompiledView[]): Promise<ViewBinding[]> {
    if (views.length === 0) return [];
    const records = await this.#options.store.readRecords(views.map(bindingName));
    return views.map((view, i) => decodeBinding(view, records[i]!));
  }

  /**
   * Writes the binding if that in the store still is the one it was made of; nothing changes here by that.
   * @returns what the store has now; null: somebody else has changed it, read it again
   */
  async write(view: CompiledView, next: ViewBinding): Promise<ViewBinding | null> {
    const { store, newToken } = this.#options;
    const token = newToken(next.token);
    const record = { token, text: encodeBinding(next) };
    const write = { name: bindingName(view), expected: next.token, next: record };
    return (await store.compareAndSetRecord(write)) ? { ...next, token } : null;
  }

  /** As `write`, and adopts it. @returns false: somebody else has changed it, read it again */
  async change(view: CompiledView, next: ViewBinding): Promise<boolean> {
    const written = await this.write(view, next);
    if (written !== null) this.adopt(view, written);
    return written !== null;
  }

  adopt(view: CompiledView, binding: ViewBinding): void {
    this.#adopted.set(view, binding);
    for (const namespace of namespacesOf(binding)) this.bound(view, namespace);
  }

  /** The view as it lies in that namespace; always the same object, the definition's own in its own namespace. */
  bound(view: CompiledView, namespace: string): CompiledView {
    let bound = this.#bound.get(namespace);
    if (bound === undefined) {
      bound = namespace === view.namespace ? view : Object.freeze({ ...view, namespace });
      this.#bound.set(namespace, bound);
      this.#definitions.set(bound, view);
    }
    return bound;
  }

  /** The view that is read. */
  active(view: CompiledView): CompiledView {
    return this.bound(view, this.#binding(view).active);
  }

  isActive(bound: CompiledView): boolean {
    return this.active(this.definition(bound)) === bound;
  }

  /** As it is in the repo. */
  definition(bound: CompiledView): CompiledView {
    return this.#definitions.get(bound) ?? bound;
  }

  binding(view: CompiledView): ViewBinding {
    return this.#binding(view);
  }

  /** What ingest applies, in the order of the source's views. The same array until there is something else to apply. */
  applied(source: CompiledSource): readonly CompiledView[] {
    const nowMs = this.#options.clock.nowMs();
    const views = source.views.flatMap((view) => {
      const { active, building, retiring } = this.#binding(view);
      const namespaces = new Set([
        active,
        ...(building?.joined ? [building.namespace] : []),
        ...retiring.filter(({ untilMs }) => nowMs < untilMs).map(({ namespace }) => namespace),
      ]);
      return [...namespaces].map((namespace) => this.bound(view, namespace));
    });
    const former = this.#applied.get(source);
    if (former?.length === views.length && former.every((view, i) => view === views[i])) return former;
    this.#applied.set(source, views);
    return views;
  }

  /** The view whose state lies in this namespace, now or for a while yet. */
  inNamespace(namespace: string): CompiledView | undefined {
    const bound = this.#bound.get(namespace);
    if (bound === undefined) return undefined;
    return namespacesOf(this.#binding(this.definition(bound))).includes(namespace) ? bound : undefined;
  }

  #binding(view: CompiledView): ViewBinding {
    const binding = this.#adopted.get(view);
    if (binding === undefined) throw new Error(`view ${view.name} is not one of this process`);
    return binding;
  }
}

function namespacesOf({ active, building, retiring }: ViewBinding): string[] {
  return [
    active,
    ...(building === null ? [] : [building.namespace]),
    ...retiring.map((entry) => entry.namespace),
  ];
}
