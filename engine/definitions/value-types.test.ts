import { expect, it } from 'vitest';
import { operationRegistry } from '../aggregators/operation-registry.ts';
import { OPERATION_ACCEPTS, OPERATION_ORDERED_BY } from './value-types.ts';

it('the compiler knows the same operations over the same column types as the registry', () => {
  const registered = [...operationRegistry].map(([name, { accepts }]) => [name, [...(accepts ?? [])].sort()]);
  const known = Object.entries(OPERATION_ACCEPTS).map(([name, types]) => [name, [...types].sort()]);
  expect(Object.fromEntries(known)).toEqual(Object.fromEntries(registered));
});

it('the compiler knows the same operations that take a column to order by', () => {
  const registered = [...operationRegistry].flatMap(([name, { orderedBy }]) =>
    orderedBy === undefined ? [] : [[name, orderedBy]],
  );
  expect(OPERATION_ORDERED_BY).toEqual(Object.fromEntries(registered));
});
