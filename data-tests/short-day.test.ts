import { describe, expect, test } from 'vitest';
import * as cardFraud from '../examples/card-fraud/features.ts';
import { CARD_FILES, compareCardDays } from './card-transactions.ts';
import { dataPresent } from './published-data.ts';
import { trainedPayments } from './training-sets.ts';

describe.skipIf(!dataPresent(...CARD_FILES))('card payments of 2018-04-10, as published', () => {
  test('every row is equal, read as of each event through the HTTP API, and in a training set', async () => {
    const trained = await trainedPayments(cardFraud, ['2018-04-10']);
    const { compared, compacted, events } = await compareCardDays({
      days: ['2018-04-10'],
      trained: (id) => trained.get(id)!,
      // Small leaves: the keys of these ten days have some twenty rows each.
      shape: { leafBytesMax: 160, tailRowsMax: 4 },
    });
    console.log(`${compared.size} rows equal, ${events} events, ${compacted} states compacted meanwhile`);
    expect(compared.size).toBe(9_672);
    expect(compacted).toBeGreaterThan(1_000);
  }, 600_000);
});
