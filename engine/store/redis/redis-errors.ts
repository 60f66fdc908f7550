/**
 * What Redis and ioredis reject with, as errors of a store. None of them says more than that the call may or may
 * not have been executed; compare-and-set makes it safe to read again and repeat.
 */
import { InvalidAddressError } from '../state-address.ts';
import {
  StoreClosedError,
  StoreFormatError,
  StoreFullError,
  StoreUnavailableError,
} from '../store-errors.ts';

const SLOT_MIGRATES = 'a slot of the Redis Cluster is being migrated, or has just been';

/** Codes of Redis' own answers, with what to say of them. */
const BY_CODE: ReadonlyMap<string, string> = new Map([
  ['LOADING', 'Redis is loading its data'],
  ['BUSY', 'Redis is busy with a script'],
  ['READONLY', 'this Redis is a replica now; connecting again'],
  ['MASTERDOWN', 'Redis has lost its master'],
  ['NOREPLICAS', 'Redis has fewer replicas than min-replicas-to-write asks for'],
  ['MISCONF', 'Redis refuses writes because it cannot persist them: look at its log and its disk'],
  ['CLUSTERDOWN', 'the Redis Cluster is down or does not cover all slots'],
  ['TRYAGAIN', SLOT_MIGRATES],
  ['ASK', SLOT_MIGRATES],
  ['MOVED', SLOT_MIGRATES],
  ['NOAUTH', 'Redis asks for a password: set it in the URL or with --redis-password'],
  ['WRONGPASS', 'Redis refuses the user name or password'],
  ['NOPERM', 'the Redis user may not run a command or script that is needed'],
]);

/** As ioredis says it. */
export const TIMED_OUT = 'Command timed out';

/** In Redis 6.2 the error of a command inside a script is wrapped: `ERR Error running script …: -OOM …`. */
const CODE_IN_SCRIPT = /(?:^|: -?)([A-Z]{3,}) /g;

export function toStoreError(error: unknown): Error {
  if (
    error instanceof StoreUnavailableError ||
    error instanceof StoreFullError ||
    error instanceof StoreClosedError ||
    error instanceof StoreFormatError ||
    error instanceof InvalidAddressError
  ) {
    return error;
  }
  const cause = withoutArguments(error);
  const { message } = cause;
  if (message.includes('OOM command not allowed')) {
    return new StoreFullError(
      'Redis has reached its maxmemory: raise it, let compaction expire idle keys, or shorten windows and retention',
      { cause },
    );
  }
  if (message.includes('WRONGTYPE')) {
    return new StoreFormatError(
      'a Redis key of the tile store holds something else: choose another --redis-prefix',
      { cause },
    );
  }
  if (message === TIMED_OUT) {
    return new StoreUnavailableError('Redis did not answer in time', { cause });
  }
  for (const [, code] of message.matchAll(CODE_IN_SCRIPT)) {
    const meaning = BY_CODE.get(code!);
    if (meaning !== undefined) return new StoreUnavailableError(meaning, { cause });
  }
  return new StoreUnavailableError(isReply(cause) ? 'Redis refused a command' : 'Redis cannot be reached', {
    cause,
  });
}

/** Whether an error of a store is what Redis answered, rather than that it did not. */
export function isAnswer(error: unknown): boolean {
  if (!(error instanceof StoreUnavailableError)) return true;
  return error.cause instanceof Error && isReply(error.cause);
}

function isReply({ name, message }: Error): boolean {
  return name === 'ReplyError' || name === 'ErrorReply' || /^[A-Z]+ /.test(message);
}

/** Whether the script was not known, and therefore not executed. */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/** ioredis hangs the command's arguments on errors, and Redis quotes those of a command it does not know. */
export function withoutArguments(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('an error that is no Error');
  const cause = new Error(error.message.replace(/,? with args beginning with:.*$/s, ''));
  cause.name = error.name;
  return cause;
}
