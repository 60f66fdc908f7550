/** JSON that is written as text is, byte for byte, what `JSON.stringify` makes of a response built as an object. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import { FEATURE_STATUSES, type FeatureAnswer, type FeatureStatus } from './feature-answer.ts';
import { featureResponse, openFeatureJson } from './feature-response.ts';
import { toJson, toServable } from './json-value.ts';

/** The slow twin: an object for everything, written to be read. */
function slowJson(
  output: readonly { readonly name: string; readonly slot: number }[],
  answers: readonly FeatureAnswer[],
  atMs: number,
  wanted: boolean,
): { readonly text: string; readonly statuses: ReadonlyMap<FeatureStatus, number> } {
  const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
  const bounds = ({ fromMs, toMs }: { fromMs: number | null; toMs: number }) => ({
    after: iso(fromMs),
    until: iso(toMs),
  });
  const features = Object.create(null);
  const metadata = Object.create(null);
  const statuses = new Map<FeatureStatus, number>();
  for (const { name, slot } of output) {
    const answer = answers[slot]!;
    let { status } = answer;
    try {
      features[name] = toJson(answer.value);
    } catch {
      features[name] = null;
      status = 'error';
    }
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (!wanted && (status === 'present' || status === 'empty') && !answer.truncated) continue;
    metadata[name] = {
      status,
      truncated: answer.truncated || undefined,
      window: answer.window === null ? undefined : bounds(answer.window),
      windows: answer.windows?.map(bounds),
      missing: answer.missing && { after: iso(answer.missing.afterMs), until: iso(answer.missing.untilMs) },
    };
  }
  const body =
    wanted || Object.keys(metadata).length > 0
      ? { features, metadata: { at: iso(atMs), at_ms: atMs, features: metadata } }
      : { features };
  return { text: JSON.stringify(body), statuses };
}

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\ud800', '__proto__', '7', '"\\\n\u2028'),
);
const scalar = fc.oneof(
  fc.constantFrom<FeatureValue>(null, true, false, 0, -0, Number.NaN, Infinity, 1e21, 1e-7, 5e-324, 2 ** 53),
  fc.double(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  text,
);
const value: fc.Arbitrary<FeatureValue> = fc.letrec<{ value: FeatureValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(text, tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
  ),
})).value;
const time = fc.integer({ min: 0, max: Date.UTC(2200, 0) });
const bounds = fc.record({ fromMs: fc.option(time), toMs: time });
const answer: fc.Arbitrary<FeatureAnswer> = fc
  .record({
    value,
    status: fc.constantFrom(...FEATURE_STATUSES),
    truncated: fc.boolean(),
    window: fc.option(bounds),
    windows: fc.option(fc.array(bounds, { maxLength: 3 })),
    missing: fc.option(fc.record({ afterMs: fc.option(time), untilMs: time })),
  })
  .map(({ windows, missing, ...always }) => ({
    ...always,
    ...(windows === null ? {} : { windows }),
    ...(missing === null ? {} : { missing }),
  }));
const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,12}$/);
const question = fc
  .record({
    named: fc.uniqueArray(fc.tuple(name, answer), { selector: ([own]) => own, maxLength: 6 }),
    atMs: time,
    metadata: fc.boolean(),
  })
  .map(({ named, atMs, metadata }) => {
    // Slots are in another order than names.
    const answers = named.map(([, own]) => own).reverse();
    const output = named.map(([own], i) => ({ name: own, slot: named.length - 1 - i }));
    return { output, answers, atMs, metadata };
  });

test('text is the text of the object, and counts the same statuses', () => {
  fc.assert(
    fc.property(question, ({ output, answers, atMs, metadata }) => {
      const slow = slowJson(output, answers, atMs, metadata);
      const statuses = new Map<FeatureStatus, number>();
      // Twice: what is kept of the names must be right the second time.
      for (let i = 0; i < 2; i++) {
        statuses.clear();
        expect(`${openFeatureJson({ output, answers, atMs, metadata, statuses })}}`).toBe(slow.text);
      }
      expect(statuses).toEqual(slow.statuses);
      statuses.clear();
      const object = featureResponse({ output, answers, atMs, metadata, statuses, encode: toJson });
      expect(JSON.stringify(object)).toBe(slow.text);
      expect(statuses).toEqual(slow.statuses);
    }),
    { numRuns: 500 },
  );
});

test('a value for other encodings is itself, or refused where it has no JSON', () => {
  const refused = (of: (value: FeatureValue) => unknown, own: FeatureValue): boolean => {
    try {
      of(own);
      return false;
    } catch {
      return true;
    }
  };
  fc.assert(
    fc.property(value, (own) => {
      expect(refused(toServable, own)).toBe(refused(toJson, own));
      if (!refused(toServable, own)) expect(toServable(own)).toBe(own);
    }),
  );
  for (const own of [undefined, {}, new Date(0), () => 0] as unknown as FeatureValue[]) {
    expect([refused(toServable, own), refused(toJson, own)]).toEqual([true, true]);
  }
});
