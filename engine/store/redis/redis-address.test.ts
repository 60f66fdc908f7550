import { describe, expect, it } from 'vitest';
import { StoreSetupError } from '../store-errors.ts';
import { hostAndPort, parseRedisAddresses } from './redis-address.ts';

describe('Redis addresses', () => {
  it('are hosts with defaults, or URLs', () => {
    const plain = { db: 0, tls: false, username: null, password: null };
    expect(parseRedisAddresses('localhost')).toEqual([{ ...plain, host: 'localhost', port: 6379 }]);
    expect(parseRedisAddresses('a:7000, b:7001')).toEqual([
      { ...plain, host: 'a', port: 7000 },
      { ...plain, host: 'b', port: 7001 },
    ]);
    expect(parseRedisAddresses(['rediss://us%3Aer:p%40ss@redis.example:6380/2'])).toEqual([
      { host: 'redis.example', port: 6380, db: 2, tls: true, username: 'us:er', password: 'p@ss' },
    ]);
    const [v6] = parseRedisAddresses('redis://[::1]:7000/');
    expect(v6).toMatchObject({ host: '::1', port: 7000, db: 0 });
    expect(hostAndPort(v6!)).toBe('[::1]:7000');
  });

  it('are refused without being repeated, as they may hold a password', () => {
    const wrong = [
      '',
      'http://:secret@a',
      'redis://',
      'redis://:secret@a/x',
      'redis://a:1,',
      'redis://a/0?secret',
      'redis://:secret%zz@a',
      'redis://secret%:x@a',
    ];
    for (const nodes of wrong) {
      expect(() => parseRedisAddresses(nodes)).toThrow(StoreSetupError);
      expect(() => parseRedisAddresses(nodes)).not.toThrow(/secret/);
    }
    expect(() => parseRedisAddresses('redis://:50%@a')).toThrow(/have %, .* as %25/);
    expect(() => parseRedisAddresses([])).toThrow(StoreSetupError);
    expect(() => parseRedisAddresses('redis://a,rediss://b')).toThrow(/address 2 differs/);
  });
});
