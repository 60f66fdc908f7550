import { describe, expect, test } from 'vitest';
import { operationRegistry } from '../../aggregators/operation-registry.ts';
import { cellName, cellNames, PHASES, REFUSED_TARGETS, TARGETS, targetOf, WINDOW_KINDS } from './cells.ts';
import { Coverage } from './coverage.ts';

describe('the cells of the matrix', () => {
  test('are every operation over every kind of window, exact and with a resolution, but for what is refused', () => {
    const all = operationRegistry.size * WINDOW_KINDS.length * 2;
    expect(TARGETS.length + REFUSED_TARGETS.length).toBe(all);
    expect(new Set(cellNames()).size).toBe(TARGETS.length * PHASES.length);
  });

  test('lack what the operations themselves say is refused, and nothing else', () => {
    const expected = [...operationRegistry.values()].flatMap(
      ({ name, sequence = false, needsLength = false }) =>
        WINDOW_KINDS.flatMap((kind) =>
          [false, true].flatMap((resolution) => {
            const whole = sequence && (kind === 'lifetime' || resolution);
            const endless = needsLength && (kind === 'lifetime' || kind === 'last_events');
            return whole || endless ? [`${name} ${kind} ${resolution}`] : [];
          }),
        ),
    );
    const refused = REFUSED_TARGETS.map(
      ({ operation, windowKind, resolution }) => `${operation.name} ${windowKind} ${resolution}`,
    );
    expect(refused.sort()).toEqual(expected.sort());
  });

  test('come up in turn, by the seed alone', () => {
    const seeds = TARGETS.map((_, i) => 7 * TARGETS.length + i);
    expect(seeds.map(targetOf)).toEqual(TARGETS);
  });
});

test('coverage names the cells that no value was found for', () => {
  const coverage = new Coverage();
  expect(coverage.missing()).toEqual(cellNames());
  const { operation, windowKind, resolution } = TARGETS[0]!;
  const feature = { operation, window: { kind: windowKind } } as Parameters<Coverage['meetCell']>[0];
  for (const phase of PHASES) {
    expect(coverage.isMissing(TARGETS[0]!)).toBe(true);
    coverage.meetCell(feature, resolution, phase);
  }
  expect(coverage.isMissing(TARGETS[0]!)).toBe(false);
  const others = new Coverage();
  others.add(coverage.counts());
  expect(others.missing()).toEqual(cellNames().slice(PHASES.length));
  expect(coverage.missing()).not.toContain(cellName(TARGETS[0]!, 'late'));
});
