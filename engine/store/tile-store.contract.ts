/**
 * What every tile store must do. Run by each store's test file with its own factory; it assumes nothing about
 * the implementation except the interface, and uses names of its own, so that a shared server may be behind it.
 *
 * What it does not catch: a store that loses more than a suffix per shard when it crashes.
 */
import { describe } from 'vitest';
import { describeDroppedNamespace } from './contract/dropped-namespace.contract.ts';
import { describeDueIndex } from './contract/due-index.contract.ts';
import { describeHostileKeys } from './contract/hostile-keys.contract.ts';
import { describeRecords } from './contract/records.contract.ts';
import { describeShardMark } from './contract/shard-mark.contract.ts';
import { describeStates } from './contract/states.contract.ts';
import { describeWatermarks } from './contract/watermarks.contract.ts';
import { OpenedStore, type TileStoreHarness } from './testing/opened-store.ts';

export function describeTileStore(title: string, open: () => Promise<TileStoreHarness>): void {
  describe(`${title}: tile store contract`, () => {
    const opened = new OpenedStore(open);
    describeStates(opened);
    describeShardMark(opened);
    describeHostileKeys(opened);
    describeWatermarks(opened);
    describeDueIndex(opened);
    describeRecords(opened);
    describeDroppedNamespace(opened);
  });
}
