/**
 * Counts in an lmdb tile store: one state for each of three keys, all set to the next number in one transaction, so that
 * after whatever befalls the disk all must hold the same number.
 *
 * `count DIRECTORY EVERY`: counts on until killed, says `visible N` of what can be read, and at each number that EVERY
 * divides waits until the store says that it is on the disk, and says `flushed N`. `read DIRECTORY…`: for each a line with the numbers of the three as JSON, or of what is wrong as text.
 */
import { writeSync } from 'node:fs';
import { setImmediate as immediate } from 'node:timers/promises';
import { LmdbTileStore } from '../../engine/store/lmdb-tile-store.ts';
import type { TileStore } from '../../engine/store/tile-store.ts';

const SHARD = 0;
const NAMESPACE = '0123456789abcdef';
const ADDRESSES = ['a', 'b', 'c'].map((key) => ({ shard: SHARD, namespace: NAMESPACE, key }));
const FIELD = 'f';
/** Takes pages of its own, so that each number frees those of the number before. */
const FIELD_BYTES = 9_000;

const numberOf = (head: Uint8Array | null): number => (head === null ? 0 : Buffer.from(head).readUInt32BE());

function bytesOf(n: number): { head: Uint8Array; field: Uint8Array } {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(n);
  return { head, field: new Uint8Array(FIELD_BYTES).fill(n % 251) };
}

const read = (store: TileStore) => store.read(ADDRESSES.map((address) => ({ address, fields: [FIELD] })));

async function count(path: string, flushEvery: number): Promise<never> {
  writeSync(1, 'opening\n');
  const store = await LmdbTileStore.open({ path });
  for (let n = numberOf((await read(store))[0]!.head) + 1; ; n++) {
    const states = await read(store);
    const { head, field } = bytesOf(n);
    const token = n.toString(16).padStart(16, '0');
    const writing = store.compareAndSet(
      ADDRESSES.map((address, i) => ({
        address,
        expected: states[i]!.token,
        next: { token, head },
        changes: new Map([[FIELD, field]]),
      })),
    );
    // Readers see a transaction before its writer hears of it.
    while (numberOf((await read(store))[0]!.head) < n) await immediate();
    writeSync(1, `visible ${n}\n`);
    if (n % flushEvery === 0) {
      await store.flush();
      writeSync(1, `flushed ${n}\n`);
    }
    if ((await writing).includes(false)) throw new Error(`${n} was not written`);
  }
}

async function numbers(path: string): Promise<number[] | string> {
  const store = await LmdbTileStore.open({ path });
  try {
    const states = await read(store);
    const found = states.map(({ head }) => numberOf(head));
    const isWhole = states.every(({ fields: [field] }, i) =>
      found[i] === 0 ? field === null : Buffer.compare(field!, bytesOf(found[i]!).field) === 0,
    );
    return isWhole ? found : `damaged at ${found}`;
  } finally {
    await store.close();
  }
}

const [what, ...paths] = process.argv.slice(2);
if (what === 'count') await count(paths[0]!, Number(paths[1]));
for (const path of paths) {
  const found = await numbers(path).catch((error: Error) => error.message);
  writeSync(1, `${JSON.stringify(found)}\n`);
}
