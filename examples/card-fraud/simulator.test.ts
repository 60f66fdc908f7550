import { describe, expect, it } from 'vitest';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { decodeEvent } from '../../engine/definitions/decode-event.ts';
import * as features from './features.ts';
import simulate, { type SimulatedEvent, type SimulatorOptions } from './simulator.ts';

function take(count: number, options: Partial<SimulatorOptions> = {}): SimulatedEvent[] {
  const events: SimulatedEvent[] = [];
  for (const event of simulate({ seed: 7, startMs: 1_700_000_000_000, ratePerSecond: 100, ...options })) {
    if (events.push(event) === count) break;
  }
  return events;
}

describe('the card swipe simulator', () => {
  const swipes = take(20_000);

  it('gives the same swipes for the same seed and start, others for another', () => {
    expect(take(500)).toEqual(swipes.slice(0, 500));
    expect(take(500, { seed: 8 })).not.toEqual(swipes.slice(0, 500));
  });

  it('gives events that the source accepts, in time order, at about the rate asked for', () => {
    const decode = decodeEvent(compileRepo(Object.values(features)).sources.get('card_transactions')!, {
      checkKeys: true,
    });
    let previousMs = 0;
    for (const { source, data, atMs } of swipes) {
      const event = decode(JSON.parse(JSON.stringify(data)));
      const fits =
        source === 'card_transactions' && event.ok && event.eventTimeMs === atMs && atMs >= previousMs;
      if (!fits) throw new Error(JSON.stringify({ source, data, atMs, event }));
      previousMs = atMs;
    }
    const seconds = (previousMs - swipes[0]!.atMs) / 1000;
    expect(swipes.length / seconds).toBeGreaterThan(90);
    expect(swipes.length / seconds).toBeLessThan(110);
  });

  it('never uses a transaction id twice, also not after a restart', () => {
    const lastMs = swipes.at(-1)!.atMs;
    const restarted = take(20_000, { startMs: lastMs + 1 });
    const ids = new Set([...swipes, ...restarted].map(({ data }) => data.transaction_id));
    expect(ids.size).toBe(40_000);
    expect([...ids].every(Number.isSafeInteger)).toBe(true);
    expect(restarted.map(({ data }) => data.customer_id)).not.toEqual(
      swipes.map(({ data }) => data.customer_id),
    );
  });

  it('has busy and quiet customers, plausible amounts and few frauds', () => {
    const perCustomer = new Map<unknown, number>();
    for (const { data } of swipes)
      perCustomer.set(data.customer_id, (perCustomer.get(data.customer_id) ?? 0) + 1);
    const counts = [...perCustomer.values()].sort((a, b) => b - a);
    expect(counts[0]!).toBeGreaterThan(10 * counts[Math.floor(counts.length / 2)]!);
    const amounts = swipes.map(({ data }) => data.tx_amount as number).sort((a, b) => a - b);
    expect(amounts[0]!).toBeGreaterThan(0);
    expect(amounts[10_000]!).toBeGreaterThan(20);
    expect(amounts[10_000]!).toBeLessThan(120);
    expect(amounts.every((amount) => Math.round(amount * 100) / 100 === amount)).toBe(true);
    const frauds = swipes.filter(({ data }) => data.tx_fraud === 1).length;
    expect(frauds).toBeGreaterThan(0);
    expect(frauds).toBeLessThan(0.03 * swipes.length);
  });

  it('refuses a rate that is not above 0', () => {
    expect(() => simulate({ seed: 1, startMs: 0, ratePerSecond: 0 }).next()).toThrow(/above 0/);
  });
});
