import { expect, test } from 'vitest';
import { argumentsOf, HELP, scenarioFirst } from './arguments.ts';
import { SCENARIO_NAMES, scenarioOf } from './scenarios.ts';

const DEFAULTS = { seed: '1', bare: false, 'no-realtime': false, small: false };

test('a scenario runs at its own rate unless another is given', () => {
  expect(argumentsOf('swipe', { ...DEFAULTS })).toMatchObject({
    mode: 'roles',
    ratePerSecond: 500,
    seconds: 60,
  });
  expect(argumentsOf('swipe', { ...DEFAULTS, engine: 'embedded' }).ratePerSecond).toBe(1_000);
  expect(argumentsOf('overload', { ...DEFAULTS }).ratePerSecond).toBeNull();
  const given = { rate: '2000', duration: '1.5', events: '7', history: '10', keys: '5', out: '/tmp/there' };
  expect(argumentsOf('mixed', { ...DEFAULTS, ...given })).toMatchObject({
    ...{
      ratePerSecond: 2_000,
      seconds: 1.5,
      eventsPerSecond: 7,
      history: 10,
      keys: 5,
      directory: '/tmp/there',
    },
  });
});

test('what waits is real-time unless that is not wanted', () => {
  expect(argumentsOf('mixed', { ...DEFAULTS }).realtime).toBe(true);
  expect(argumentsOf('mixed', { ...DEFAULTS, 'no-realtime': true }).realtime).toBe(false);
});

test('--small is little of everything, and what is given goes before it', () => {
  for (const name of SCENARIO_NAMES) {
    const { ratePerSecond, seconds, eventsPerSecond, history } = argumentsOf(name, {
      ...DEFAULTS,
      small: true,
    });
    expect(ratePerSecond).toBeLessThanOrEqual(40);
    expect(seconds).toBeLessThan(10);
    expect(eventsPerSecond).toBeLessThanOrEqual(scenarioOf(name).eventsPerSecond);
    expect(history).toBeLessThan(10_000);
  }
  expect(argumentsOf('soak', { ...DEFAULTS, small: true, duration: '9' }).seconds).toBe(9);
});

test.each([
  [undefined, {}, 'which scenario? swipe, login'],
  ['swim', {}, 'there is no scenario swim'],
  ['swipe', { engine: 'cluster' }, "--engine must be roles or embedded, not 'cluster'"],
  ['degraded', { engine: 'embedded' }, 'degraded needs --engine roles'],
  ['swipe', { bare: true }, '--bare goes with mixed'],
  ['mixed', { bare: true, engine: 'embedded' }, '--bare goes with mixed and --engine roles'],
  ['swipe', { rate: '0' }, '--rate must be a number'],
  ['swipe', { events: '5' }, '--events: swipe sends none'],
] as const)('%s with %o makes no sense', (name, values, message) => {
  expect(() => argumentsOf(name, { ...DEFAULTS, ...values })).toThrow(message);
});

test('the scenario may stand before its options and behind them', () => {
  expect(scenarioFirst(['swipe', '--rate', '5'])).toEqual({ name: 'swipe', rest: ['--rate', '5'] });
  expect(scenarioFirst(['--rate', '5', '--small', 'swipe'])).toEqual({
    name: 'swipe',
    rest: ['--rate', '5', '--small'],
  });
  expect(scenarioFirst(['--small'])).toEqual({ name: undefined, rest: ['--small'] });
});

test('the help has a line for every scenario', () => {
  for (const name of SCENARIO_NAMES)
    expect(HELP).toContain(`\n  ${name.padEnd(10)} ${scenarioOf(name).summary}\n`);
});
