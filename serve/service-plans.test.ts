/** Which narrowed plans are made, and how many of them are kept. */
import { expect, test } from 'vitest';
import { card, testRepo } from '../embedded/testing/test-repo.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { featureService, onDemandFeature } from '../index.ts';
import { NARROWED_PLANS_MAX, ServicePlans } from './service-plans.ts';

const plansOf = (service: CompiledService) => {
  const made: string[] = [];
  const plans = new ServicePlans(service, (narrowed, name) => {
    made.push(name);
    return narrowed;
  });
  return { plans, made };
};
const decision = testRepo.services.get('decision')!;

test('a plan has what its features need, and nothing else', () => {
  const { plans } = plansOf(decision);
  const needs = (...features: string[]) => {
    const { views, entities, request, onDemand, output } = plans.of(features);
    return {
      views: views.map(({ view, features: own }) => [view.name, ...own.map(({ name }) => name)]),
      entities: entities.map(({ name }) => name),
      request: Object.keys(request),
      onDemand: onDemand.map(({ name }) => name),
      output: output.map(({ name }) => name),
    };
  };
  expect(needs('amount_ratio')).toEqual({
    views: [['spend', 'amount_max_1d']],
    entities: [card.name],
    request: ['amount'],
    onDemand: ['amount_ratio'],
    output: ['amount_ratio'],
  });
  expect(needs('after_moody')).toEqual({
    views: [],
    entities: [],
    request: ['mood'],
    onDemand: ['moody', 'after_moody'],
    output: ['after_moody'],
  });
  // In the service's order, whatever the request's.
  expect(needs('shop_cents_1h', 'payments_1h', 'moody')).toEqual({
    views: [
      ['spend', 'payments_1h'],
      ['shops', 'shop_cents_1h'],
    ],
    entities: ['card', 'shop'],
    request: ['mood'],
    onDemand: ['moody'],
    output: ['moody', 'payments_1h', 'shop_cents_1h'],
  });
});

test('one plan serves every order of the same features; all of them are the whole', () => {
  const { plans, made } = plansOf(decision);
  expect(plans.of(undefined)).toBe(plans.whole);
  expect(plans.of(null)).toBe(plans.whole);
  expect(plans.of(['moody', 'payments_1h'])).toBe(plans.of(['payments_1h', 'moody']));
  expect(made).toHaveLength(2);
  const all = decision.output.map(({ name }) => name);
  expect(plans.of(all.toReversed())).toBe(plans.whole);
  expect(plans.narrowed).toBe(1);
});

test('those used last are kept, so many and no more', () => {
  const constants = Array.from({ length: NARROWED_PLANS_MAX + 2 }, (_, i) =>
    onDemandFeature({ name: `constant_${i}`, type: 'integer', compute: () => i }),
  );
  const repo = compileRepo([featureService({ name: 'constants', features: constants })]);
  const { plans, made } = plansOf(repo.services.get('constants')!);
  const first = plans.of(['constant_0']);
  for (let i = 1; i < NARROWED_PLANS_MAX; i++) plans.of([`constant_${i}`]);
  expect(plans.narrowed).toBe(NARROWED_PLANS_MAX);
  // Used again, so that another one goes.
  expect(plans.of(['constant_0'])).toBe(first);
  plans.of([`constant_${NARROWED_PLANS_MAX}`]);
  expect(plans.narrowed).toBe(NARROWED_PLANS_MAX);
  expect(plans.of(['constant_0'])).toBe(first);
  const before = made.length;
  plans.of(['constant_1']);
  expect(made.length).toBe(before + 1);
});
