import { describe, expect, it } from 'vitest';
import { StoreSetupError } from '../store-errors.ts';
import { parseRedisAddresses, placeText } from './redis-address.ts';

describe('Redis addresses', () => {
  it('are hosts with defaults, or URLs', () => {
    const plain = { db: 0, tls: false, username: null, password: null };
    expect(parseRedisAddresses('localhost')).toEqual([
      { ...plain, place: { host: 'localhost', port: 6379 } },
    ]);
    expect(parseRedisAddresses('a:7000, b:7001')).toEqual([
      { ...plain, place: { host: 'a', port: 7000 } },
      { ...plain, place: { host: 'b', port: 7001 } },
    ]);
    expect(parseRedisAddresses(['rediss://us%3Aer:p%40ss@redis.example:6380/2'])).toEqual([
      {
        place: { host: 'redis.example', port: 6380 },
        db: 2,
        tls: true,
        username: 'us:er',
        password: 'p@ss',
      },
    ]);
    const [v6] = parseRedisAddresses('redis://[::1]:7000/');
    expect(v6).toMatchObject({ place: { host: '::1', port: 7000 }, db: 0 });
    expect(placeText(v6!.place)).toBe('[::1]:7000');
  });

  it('are sockets of this machine', () => {
    const plain = { tls: false, username: null, password: null };
    expect(parseRedisAddresses('unix:///run/redis/redis.sock')).toEqual([
      { ...plain, place: { path: '/run/redis/redis.sock' }, db: 0 },
    ]);
    const [address] = parseRedisAddresses('unix:///tmp/my redis.sock?db=3');
    expect(address).toEqual({ ...plain, place: { path: '/tmp/my redis.sock' }, db: 3 });
    expect(placeText(address!.place)).toBe('/tmp/my redis.sock');
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
      'unix://',
      'unix:///',
      'unix://secret.sock',
      'unix:///secret.sock?password=secret',
      'unix://:secret@/tmp/a.sock',
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
