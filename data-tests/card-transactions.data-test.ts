import { describe, expect, test } from 'vitest';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import * as cardFraud from '../examples/card-fraud/features.ts';
import { CARD_FILES, compareCardDays } from './card-transactions.ts';
import { dataPresent } from './published-data.ts';
import { trainedPayments } from './training-sets.ts';

/** Rows that tell near-miss definitions apart, from the data's README. */
const TELLING = [504124, 504532, 582689, 506582, 648312, 499772, 645036, 578598, 578599, 647873, 646532];
const DAYS = ['2018-04-10', '2018-05-23', '2018-05-31', '2018-06-07'];

describe.skipIf(!dataPresent(...CARD_FILES))('card payments of all published days', () => {
  // Deep trees are the short day's business: it has small leaves.
  test('every row is equal, read as of each event through the HTTP API, and in a training set', async () => {
    const trained = await trainedPayments(cardFraud, DAYS);
    const { compared, compacted, events } = await compareCardDays({
      ...{ days: DAYS, shape: DEFAULT_TILE_SHAPE },
      trained: (id) => trained.get(id)!,
    });
    console.log(`${compared.size} rows equal, ${events} events, ${compacted} states compacted meanwhile`);
    expect(compared.size).toBe(38_071);
    expect(TELLING.filter((id) => !compared.has(id))).toEqual([]);
    expect(compacted).toBeGreaterThan(1_000);
  });
});
