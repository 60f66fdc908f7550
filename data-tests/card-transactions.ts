/** Compares `card_fraud` with the values published for the same transactions. */
import { expect } from 'vitest';
import type { TileShape } from '../engine/tiles/tile-shape.ts';
import * as cardFraud from '../examples/card-fraud/features.ts';
import { type Features, type LockstepSummary, lockstep } from './lockstep.ts';
import { csvRows } from './published-data.ts';

export const CARD_FILES = ['card_transactions.csv.gz', 'card_features_expected.csv.gz'] as const;

const DAY_MS = 86_400_000;
/** Upstream adds and takes off floats in a running sum. */
const TOLERANCE = 1e-9;

/**
 * Replays the days up to the last one given and compares every published row of these days.
 * Returns the transactions compared.
 */
export async function compareCardDays(args: {
  days: readonly string[];
  shape: TileShape;
  /** What a training set has for a transaction: it must be what is read. */
  trained?: (id: number) => Features;
}): Promise<LockstepSummary & { readonly compared: ReadonlySet<number> }> {
  const dayStarts = args.days.map((day) => Date.parse(`${day}T00:00:00Z`));
  const inDays = (timeMs: number): boolean =>
    dayStarts.some((start) => start <= timeMs && timeMs < start + DAY_MS);
  const endMs = Math.max(...dayStarts) + DAY_MS;
  const expected = new Map<number, Record<string, string>>();
  for await (const row of csvRows('card_features_expected.csv.gz'))
    expected.set(Number(row.TRANSACTION_ID), row);
  const compared = new Set<number>();
  const summary = await lockstep({
    definitions: cardFraud,
    source: 'card_transactions',
    file: 'card_transactions.csv.gz',
    shape: args.shape,
    foldAfterMs: 6 * 3_600_000,
    until: (row) => Number(row.tx_datetime) >= endMs,
    questions: (row) =>
      inDays(Number(row.tx_datetime)) && expected.has(Number(row.transaction_id))
        ? [
            {
              service: 'card_fraud',
              entities: { customer_id: row.customer_id, terminal_id: String(row.terminal_id) },
            },
          ]
        : [],
    answer: (row, _question, features) => {
      const id = Number(row.transaction_id);
      const published = expected.get(id)!;
      compared.add(id);
      let names = 0;
      for (const [name, text] of Object.entries(published)) {
        if (name === 'TRANSACTION_ID') continue;
        names++;
        const value = features[name];
        if (typeof value !== 'number') throw new Error(`transaction ${id}: no ${name}`);
        if (/_AVG_|_RISK_/.test(name)) {
          if (!(Math.abs(value - Number(text)) <= TOLERANCE)) {
            expect.fail(`transaction ${id}: ${name} is ${value}, published ${text}`);
          }
        } else if (value !== Number(text)) {
          expect.fail(`transaction ${id}: ${name} is ${value}, published ${text}`);
        }
      }
      if (args.trained !== undefined) compareWithTrained(id, features, args.trained(id));
      if (names !== Object.keys(features).length)
        throw new Error(`transaction ${id}: features without a published value`);
    },
  });
  return { ...summary, compared };
}

/** Counts and integers are identical, doubles within 1e-12 of each other. */
function compareWithTrained(id: number, read: Features, trained: Features): void {
  for (const [name, value] of Object.entries(read)) {
    const other = trained[name]!;
    const isDouble = /_AVG_|_RISK_/.test(name);
    const equal = isDouble ? Math.abs(value! - other) <= 1e-12 * Math.abs(value!) : value === other;
    if (!equal) expect.fail(`transaction ${id}: ${name} is ${value} online and ${other} in the training set`);
  }
}
