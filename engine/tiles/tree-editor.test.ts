import { describe, expect, test } from 'vitest';
import type { PartialRequest } from '../aggregators/partial-aggregate.ts';
import { partialKey, partialRegistry } from '../aggregators/partial-registry.ts';
import { ByteReader, CorruptBytesError } from '../bytes.ts';
import type { FieldName } from '../store/tile-store.ts';
import { SeededRandom } from '../testing/random.ts';
import { checkTree, type TreeFacts } from '../testing/tree-check.ts';
import { DEPTH_MAX, nodeField, ROOT_FIELD } from './grid.ts';
import { decodeNode, decodeRoot } from './node.ts';
import { PartialSet } from './partial-set.ts';
import { allocateRows, type RowBlock, sortRows } from './row-block.ts';
import type { TileShape } from './tile-shape.ts';
import type { TileView } from './tile-view.ts';
import { TreeEditor } from './tree-editor.ts';
import { blockField, blockLevels } from './wide-blocks.ts';

const storages = ['number'] as const;

function viewWith(options: { hasLifetime: boolean; ordered?: boolean; wide?: boolean }): TileView {
  const { hasLifetime, ordered = false, wide: withWide = false } = options;
  const partials: PartialRequest[] = [
    { kind: 'row_count', column: null, need: 'value', params: [] },
    { kind: 'exact_sum', column: 'x', need: 'value', params: [] },
    { kind: 'last_n', column: 'x', need: 'value', params: [2] },
  ];
  if (withWide) {
    partials.push(
      { kind: 'approx_distinct', column: 'x', need: 'value', params: [5] },
      { kind: 'largest_n', column: 'x', need: 'value', params: [20] },
    );
  }
  if (ordered) {
    partials.push(
      { kind: 'gaps', column: null, need: 'value', params: [] },
      { kind: 'changes', column: 'x', need: 'value', params: [] },
    );
  }
  const made = partials.map((request) =>
    partialRegistry.get(request.kind)!({
      key: partialKey(request),
      column: request.column === null ? -1 : 0,
      storage: 'number',
      type: 'integer',
      params: request.params,
    }),
  );
  const narrow = made.filter((partial) => partial.wide !== true);
  const wide = made.filter((partial) => partial.wide === true);
  return { storages, ordered, hasLifetime, newestRows: [], partials: [...narrow, ...wide], narrow, wide };
}

interface Event {
  readonly timeMs: number;
  readonly id: number;
}

function rowsOf(events: readonly Event[]): RowBlock {
  const rows = allocateRows(events.length, storages);
  events.forEach(({ timeMs, id }, i) => {
    rows.times[i] = timeMs;
    rows.idLo[i] = id;
    rows.columns[0]![i] = id;
  });
  return sortRows(rows, storages);
}

/** A row weighs 20 bytes: this many fit a leaf. */
const shapeOf = (rowsPerLeaf: number): TileShape => ({ leafBytesMax: 20 * rowsPerLeaf, tailRowsMax: 1 });

/** One state's fields, edited the way a writer does: what is missing is read and the edit is made again. */
class StoredTree {
  readonly view: TileView;
  readonly shape: TileShape;
  readonly fields = new Map<FieldName, Uint8Array>();
  /** Fields read by the last edit. */
  fetched = 0;

  constructor(view: TileView, shape: TileShape) {
    this.view = view;
    this.shape = shape;
  }

  edit(change: (tree: TreeEditor) => void): TreeFacts {
    const fetched = new Map<FieldName, Uint8Array | null>([
      [ROOT_FIELD, this.fields.get(ROOT_FIELD) ?? null],
    ]);
    for (let round = 0; ; round++) {
      // One for each level, and one more for the blocks that are found to be needed with the last.
      expect(round).toBeLessThanOrEqual(DEPTH_MAX + 2);
      const tree = new TreeEditor(this.view, this.shape, fetched);
      change(tree);
      if (tree.missing.size === 0) {
        for (const [field, bytes] of tree.changes()) {
          if (bytes === null) this.fields.delete(field);
          else this.fields.set(field, bytes);
        }
        break;
      }
      for (const field of tree.missing) fetched.set(field, this.fields.get(field) ?? null);
    }
    this.fetched = fetched.size;
    return checkTree(this.view, this.shape, this.fields);
  }

  insert(events: readonly Event[]): TreeFacts {
    return this.edit((tree) => tree.insert(rowsOf(events)));
  }
}

const heldIds = (facts: TreeFacts): number[] =>
  facts.blocks.flatMap((rows) => [...rows.idLo]).sort((a, b) => a - b);

const at = (...times: number[]): Event[] => times.map((timeMs, id) => ({ timeMs, id }));

describe('insert', () => {
  test('few rows are one field', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(4));
    const facts = tree.insert(at(10, 20, 30, 40));
    expect(facts).toMatchObject({ rowCount: 4, nodeCount: 0 });
    expect([...tree.fields.keys()]).toEqual([ROOT_FIELD]);
  });

  test('a leaf that overflows splits, and its rows stay inline while they fit', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(4));
    tree.insert(at(10, 20, 30, 40));
    const facts = tree.insert([{ timeMs: 2 ** 30 + 5, id: 9 }]);
    // Five rows, four of one bucket: these spill into a node of their own.
    expect(facts).toMatchObject({ rowCount: 5, nodeCount: 1, depthMax: 1 });
    expect([...tree.fields.keys()].sort()).toEqual([ROOT_FIELD, nodeField(1, 0)]);
  });

  test('rows of one millisecond go down to the lowest level and stay together there', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    const facts = tree.insert(at(7, 7, 7, 7, 7));
    expect(facts).toMatchObject({ rowCount: 5, nodeCount: DEPTH_MAX, depthMax: DEPTH_MAX });
  });

  test('the heaviest children spill first', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(4));
    const bucket = 2 ** 30;
    tree.insert(at(1, bucket, bucket + 1, bucket + 2, 2 * bucket, 2 * bucket + 1));
    expect(tree.fields.has(nodeField(1, 1))).toBe(true);
    expect(tree.fields.size).toBe(2);
  });

  test('an insert reads only the paths of its rows', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    tree.insert(Array.from({ length: 500 }, (_, id) => ({ timeMs: id * 40_000_000, id })));
    tree.insert([{ timeMs: 5, id: 1000 }]);
    expect(tree.fetched).toBeLessThanOrEqual(DEPTH_MAX + 1);
  });

  test('wide partials are in blocks, whose number does not depend on what is below them', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false, wide: true }), shapeOf(4));
    const of = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ timeMs: 5 * 2 ** 30 + i, id: i }));
    expect(tree.insert(of(4)).blockCount).toBe(0);
    const facts = tree.insert(at(0, 1, 2, 3, 4));
    const { first, last } = blockLevels(1);
    const own = [...tree.fields.keys()].filter((field) => field.startsWith('w'));
    // One bucket of 2³⁰ ms has spilled, and below it whatever was needed to split five rows 1 ms apart.
    for (let level = first; level <= last; level++) expect(own).toContain(blockField(level, 0));
    expect(facts.blockCount).toBe(own.length);
  });

  test('contains finds every row that is held and nothing else', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    const events = at(3, 3, 4, 1000, 2 ** 20, 2 ** 20 + 1, 2 ** 30);
    tree.insert(events);
    for (const { timeMs, id } of events) {
      for (const [time, lo, expected] of [
        [timeMs, id, true],
        [timeMs + 1, id, false],
        [timeMs, id + 100, false],
      ] as const) {
        let found = false;
        tree.edit((editor) => {
          found = editor.contains(time, { hi: 0, lo });
        });
        expect(found).toBe(expected);
      }
    }
  });
});

describe('expire', () => {
  test('drops the rows before the edge and keeps the row on it', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    tree.insert(at(9, 10, 11, 2 ** 20, 2 ** 30));
    expect(heldIds(tree.edit((editor) => editor.expire(10)))).toEqual([1, 2, 3, 4]);
    expect(heldIds(tree.edit((editor) => editor.expire(11)))).toEqual([2, 3, 4]);
    expect(heldIds(tree.edit((editor) => editor.expire(5)))).toEqual([2, 3, 4]);
  });

  test('deletes every field of what it drops', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    tree.insert(Array.from({ length: 300 }, (_, id) => ({ timeMs: id * 3_333, id })));
    const kept = [{ timeMs: 2 ** 40, id: 999 }];
    tree.insert(kept);
    const facts = tree.edit((editor) => editor.expire(2 ** 40));
    expect(facts).toMatchObject({ rowCount: 1, nodeCount: 0 });
    tree.edit((editor) => editor.expire(2 ** 40 + 1));
    expect(tree.fields.size).toBe(0);
  });

  test('merges what it drops into the prefix where there are lifetime windows', () => {
    const view = viewWith({ hasLifetime: true });
    const tree = new StoredTree(view, shapeOf(2));
    const events = at(9, 10, 11, 12, 2 ** 20, 2 ** 30);
    tree.insert(events);
    const facts = tree.edit((editor) => editor.expire(12));
    expect(facts).toMatchObject({ rowCount: 3, prefixRowCount: 3 });
    // A late row goes straight to the prefix.
    const late = { timeMs: 1, id: 50 };
    expect(tree.insert([late])).toMatchObject({ rowCount: 3, prefixRowCount: 4 });
    const { prefix } = decodeRoot(new ByteReader(tree.fields.get(ROOT_FIELD)!), storages);
    const expected = new PartialSet(view.partials);
    expected.addRows(rowsOf([...events.slice(0, 3), late]), 0, 4);
    expect(prefix).toEqual(expected.encode());
  });
});

describe('coarsen', () => {
  test('replaces whole nodes up to the resolution by their tiles and deletes their fields', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    const events = Array.from({ length: 64 }, (_, id) => ({ timeMs: id * 16, id }));
    expect(tree.insert(events).depthMax).toBeGreaterThanOrEqual(5);
    const facts = tree.edit((editor) => editor.coarsen(512, 32));
    expect(facts.collapsedRowCount).toBeGreaterThan(0);
    // Rows from the edge on are still rows.
    expect(heldIds(facts).filter((id) => id >= 32)).toEqual(events.slice(32).map(({ id }) => id));
    const all = new PartialSet(tree.view.narrow);
    all.addRows(rowsOf(events), 0, 64);
    expect(facts.tile).toEqual(all.encode());
  });

  test('takes late rows into collapsed tiles', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    const events = Array.from({ length: 64 }, (_, id) => ({ timeMs: id, id }));
    tree.insert(events);
    const before = tree.edit((editor) => editor.coarsen(64, 64));
    const late = { timeMs: 5, id: 500 };
    const after = tree.insert([late]);
    expect(after.collapsedRowCount).toBe(before.collapsedRowCount + 1);
    const all = new PartialSet(tree.view.narrow);
    all.addRows(rowsOf([...events, late]), 0, 65);
    expect(after.tile).toEqual(all.encode());
  });

  test('a collapsed tile that straddles the edge of expiry stays until it has passed', () => {
    const tree = new StoredTree(viewWith({ hasLifetime: false }), shapeOf(2));
    tree.insert(Array.from({ length: 32 }, (_, id) => ({ timeMs: 1024 + id, id })));
    tree.insert([{ timeMs: 2 ** 30, id: 99 }]);
    expect(tree.edit((editor) => editor.coarsen(2048, 1024)).collapsedRowCount).toBe(32);
    expect(tree.edit((editor) => editor.expire(1030)).collapsedRowCount).toBe(32);
    expect(tree.edit((editor) => editor.expire(2048)).collapsedRowCount).toBe(0);
  });
});

test('no orphaned, no missing field and no row lost after any sequence of edits', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new SeededRandom(seed);
    const options = { hasLifetime: random.chance(0.5), ordered: seed % 2 === 0, wide: seed % 5 === 0 };
    const view = viewWith(options);
    const tree = new StoredTree(view, shapeOf(random.pick([2, 3, 4, 10])));
    const scale = 2 ** random.between(3, 40);
    let events: Event[] = [];
    const prefix: Event[] = [];
    let lowMs = 0;
    let coarse = false;
    for (let step = 0, id = 0; step < 12; step++) {
      let facts: TreeFacts;
      const edge = random.below(scale);
      const kind = random.below(6);
      if (kind === 0) {
        facts = tree.edit((editor) => editor.expire(edge));
        lowMs = Math.max(lowMs, edge);
      } else if (kind === 1 && seed % 3 === 0) {
        coarse = true;
        facts = tree.edit((editor) => editor.coarsen(edge, 2 ** random.between(3, 30)));
      } else {
        const burst = random.below(scale);
        const batch = Array.from({ length: random.between(1, 25) }, () => ({
          timeMs: random.chance(0.3) ? burst : random.below(scale),
          id: id++,
        }));
        facts = tree.insert(batch);
        events.push(...batch);
      }
      prefix.push(...events.filter(({ timeMs }) => timeMs < lowMs));
      events = events.filter(({ timeMs }) => timeMs >= lowMs);
      // An empty tree has no root to remember the edge in.
      if (tree.fields.size === 0) lowMs = 0;
      if (coarse) {
        // Of a tile across the edge of expiry nothing can be dropped, so there may be more.
        expect(facts.rowCount + facts.collapsedRowCount, `seed ${seed}`).toBeGreaterThanOrEqual(
          events.length,
        );
        if (view.hasLifetime) {
          const total = facts.rowCount + facts.collapsedRowCount + facts.prefixRowCount;
          expect(total, `seed ${seed}`).toBe(events.length + prefix.length);
        }
        continue;
      }
      expect(heldIds(facts), `seed ${seed}`).toEqual(events.map((event) => event.id).sort((a, b) => a - b));
      expect(facts.prefixRowCount, `seed ${seed}`).toBe(view.hasLifetime ? prefix.length : 0);
    }
  }
}, 60_000);

test('a damaged node is refused, whatever byte is changed or wherever it ends', () => {
  const tree = new StoredTree(viewWith({ hasLifetime: true }), shapeOf(3));
  tree.insert(at(1, 2, 3, 2 ** 30, 2 ** 30 + 1, 2 ** 31));
  tree.edit((editor) => editor.expire(2));
  const root = tree.fields.get(ROOT_FIELD)!;
  for (let end = 0; end < root.length; end++) {
    expect(() => decodeRoot(new ByteReader(root, 0, end), storages)).toThrow(CorruptBytesError);
  }
  for (const [field, bytes] of tree.fields) {
    for (let i = 0; i < bytes.length; i++) {
      for (const value of [0, 1, 2, 3, 0x7f, 0x80, 0xff]) {
        const changed = bytes.slice();
        changed[i] = value;
        try {
          if (field === ROOT_FIELD) decodeRoot(new ByteReader(changed), storages);
          else decodeNode(new ByteReader(changed), storages);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptBytesError);
        }
      }
    }
  }
});
