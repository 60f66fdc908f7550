import { describe, expect, it } from 'vitest';
import { requestValue } from './get.ts';
import {
  collectName,
  collectPair,
  collectRate,
  parseGraceMs,
  parseSpeed,
  parseTimeMs,
  wholeNumber,
} from './parse-options.ts';

describe('options of commands', () => {
  it('collect pairs; the value may be empty or hold an equals sign', () => {
    const one = collectPair('user=', new Map());
    expect([...collectPair('k=a=b', one)]).toEqual([
      ['user', ''],
      ['k', 'a=b'],
    ]);
    expect(() => collectPair('user=x', one)).toThrow(/twice/);
    expect(() => collectPair('=x', one)).toThrow(/NAME=VALUE/);
    expect(() => collectPair('x', one)).toThrow(/NAME=VALUE/);
  });

  it('collect names, each once', () => {
    expect(collectName('b', collectName('a', []))).toEqual(['a', 'b']);
    expect(() => collectName('a', ['a'])).toThrow(/twice/);
    expect(() => collectName('', [])).toThrow(/a name/);
  });

  it('take a grace time of 10 s to 30 d', () => {
    expect(parseGraceMs('10s')).toBe(10_000);
    expect(parseGraceMs('30d')).toBe(30 * 86_400_000);
    for (const text of ['9s', '31d', '', '10', 'soon', '-10s']) {
      expect(() => parseGraceMs(text), text).toThrow(/from 10s to 30d/);
    }
  });

  it('take times as ISO 8601 with a zone or as milliseconds', () => {
    expect(parseTimeMs('2018-05-23T10:00:00Z')).toBe(Date.UTC(2018, 4, 23, 10));
    expect(parseTimeMs('1527069600000')).toBe(1_527_069_600_000);
    expect(() => parseTimeMs('2018-05-23')).toThrow(/zone/);
    expect(() => parseTimeMs('-1')).toThrow(/zone/);
  });

  it('take max or a positive number as speed', () => {
    expect(parseSpeed('max')).toBe(Number.POSITIVE_INFINITY);
    expect(parseSpeed('0.5')).toBe(0.5);
    for (const text of ['0', '-1', 'fast', '', '1e3']) expect(() => parseSpeed(text)).toThrow(/max/);
  });

  it('collect rates', () => {
    expect(collectRate('0.5', [])).toEqual([0.5]);
    expect(collectRate('10000', [1])).toEqual([1, 10_000]);
    expect(collectRate('1e7', [])).toEqual([1e7]);
    expect(collectRate('2.5E-3', [])).toEqual([0.0025]);
    for (const text of ['0', '-1', '1e10', '1e-400', 'x', '1000000001', 'Infinity', '0x10'])
      expect(() => collectRate(text, [])).toThrow(/per key/);
  });

  it('take whole numbers within their bounds', () => {
    const parse = wholeNumber(64);
    expect(parse('64')).toBe(64);
    for (const text of ['0', '65', '1.5', 'x']) expect(() => parse(text)).toThrow(/1 to 64/);
  });
});

describe('request data given as text', () => {
  it('becomes a value of its declared type, or stays text for the server to refuse', () => {
    expect(requestValue('12.5', 'double')).toBe(12.5);
    expect(requestValue('12.5', 'string')).toBe('12.5');
    expect(requestValue('9007199254740993', 'long')).toBe('9007199254740993');
    expect(requestValue('true', 'boolean')).toBe(true);
    expect(requestValue('x', 'double')).toBe('x');
    expect(requestValue('12', undefined)).toBe('12');
  });
});
