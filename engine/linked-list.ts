/**
 * What comes and goes in a collection that lasts: requests under way, whoever waits for something.
 *
 * Not a Set: V8's makes a new table every few additions, and old tables refer to the next ones and to their entries. So of
 * a Set that lives long all that was ever in it lasts until a collection of the whole heap, and asks for one early: a
 * request of some hundred kilobytes a thousand times a second made one of serve every two seconds (docs/performance.md).
 */
export class LinkedList<T> implements Iterable<T> {
  #first: LinkedNode<T> | null = null;
  #last: LinkedNode<T> | null = null;

  get isEmpty(): boolean {
    return this.#first === null;
  }

  /** The one that was added the longest ago. */
  get first(): T | undefined {
    return this.#first?.value;
  }

  /** Adds it at the end. @returns by what it is taken out again */
  add(value: T): LinkedNode<T> {
    const node: LinkedNode<T> = { value, list: this, before: this.#last, behind: null };
    if (this.#last === null) this.#first = node;
    else this.#last.behind = node;
    this.#last = node;
    return node;
  }

  /** Takes it out, in O(1); nothing happens where it is not in this list any more. */
  remove(node: LinkedNode<T>): void {
    if (node.list !== this) return;
    const { before, behind } = node;
    if (before === null) this.#first = behind;
    else before.behind = behind;
    if (behind === null) this.#last = before;
    else behind.before = before;
    // One that lasts must not hold the others.
    node.list = null;
    node.before = null;
    node.behind = null;
  }

  /** The longest there first. The one at hand may be taken out meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    let node = this.#first;
    while (node !== null) {
      const { behind } = node;
      yield node.value;
      node = behind;
    }
  }
}

/** A place in a list. */
export interface LinkedNode<T> {
  readonly value: T;
  /** null: it is in none any more. */
  list: LinkedList<T> | null;
  before: LinkedNode<T> | null;
  behind: LinkedNode<T> | null;
}
