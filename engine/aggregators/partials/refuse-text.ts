import type { ColumnStorage } from '../../tiles/row-block.ts';

/** @throws TypeError when a partial of numbers is asked for over text: the operation should have refused it. */
export function refuseText(key: string, storage: ColumnStorage): void {
  if (storage === 'text') throw new TypeError(`${key} needs a column of numbers`);
}
