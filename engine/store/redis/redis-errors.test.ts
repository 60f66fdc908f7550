import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  StoreClosedError,
  StoreFormatError,
  StoreFullError,
  StoreUnavailableError,
} from '../store-errors.ts';
import { toStoreError } from './redis-errors.ts';

describe('Redis errors', () => {
  const cases: readonly [message: string, type: new (message: string) => Error, text: RegExp][] = [
    ["OOM command not allowed when used memory > 'maxmemory'.", StoreFullError, /maxmemory/],
    [
      "ERR Error running script (call to f_0123): @user_script:45: -OOM command not allowed when used memory > 'maxmemory'.",
      StoreFullError,
      /maxmemory/,
    ],
    ['LOADING Redis is loading the dataset in memory', StoreUnavailableError, /loading/],
    [
      "READONLY You can't write against a read only replica. script: f00, on @user_script:9.",
      StoreUnavailableError,
      /replica/,
    ],
    [
      "ERR Error running script (call to f_0123): @user_script:9: -READONLY You can't write against a read only replica.",
      StoreUnavailableError,
      /replica/,
    ],
    [
      'Too many Cluster redirections. Last error: ReplyError: TRYAGAIN Multiple keys request during rehashing of slot',
      StoreUnavailableError,
      /migrated/,
    ],
    ['CLUSTERDOWN The cluster is down', StoreUnavailableError, /down/],
    ['MISCONF Errors writing to the AOF file: No space left on device', StoreUnavailableError, /persist/],
    ['NOAUTH Authentication required.', StoreUnavailableError, /password/],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', StoreFormatError, /prefix/],
    ['Command timed out', StoreUnavailableError, /in time/],
    ['Connection is closed.', StoreUnavailableError, /reached/],
    ['connect ECONNREFUSED 127.0.0.1:1', StoreUnavailableError, /reached/],
    ['ERR something new', StoreUnavailableError, /refused/],
  ];
  it.each(cases)('%s', (message, type, text) => {
    const error = toStoreError(new Error(message));
    expect(error).toBeInstanceOf(type);
    expect(error.message).toMatch(text);
    expect(error.cause).toMatchObject({ message });
  });

  it('lose the arguments that ioredis and Redis put into them', () => {
    const raw = Object.assign(
      new Error("ERR unknown command 'EVALSHA', with args beginning with: 'secret key' 'more' "),
      { command: { name: 'evalsha', args: ['secret key'] } },
    );
    const error = toStoreError(raw);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret');
    expect(error.cause).toMatchObject({ message: "ERR unknown command 'EVALSHA'" });
  });

  it('that are typed already stay as they are', () => {
    const closed = new StoreClosedError('closed');
    expect(toStoreError(closed)).toBe(closed);
  });
});
