import { expect, it } from 'vitest';
import { operationRegistry } from '../aggregators/operation-registry.ts';
import { OPERATION_ACCEPTS } from './value-types.ts';

it('the compiler knows the same operations over the same column types as the registry', () => {
  const registered = [...operationRegistry].map(([name, { accepts }]) => [name, [...(accepts ?? [])].sort()]);
  const known = Object.entries(OPERATION_ACCEPTS).map(([name, types]) => [name, [...types].sort()]);
  expect(Object.fromEntries(known)).toEqual(Object.fromEntries(registered));
});
