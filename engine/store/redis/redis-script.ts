/**
 * The Lua scripts in scripts/, and calls of them.
 *
 * A script is called by its SHA-1. A server forgets scripts when it restarts, when it is promoted and by
 * SCRIPT FLUSH, and answers NOSCRIPT without having run anything; the same arguments are then sent with the source.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { RedisCommand } from './redis-command.ts';
import type { RespArguments } from './resp-writer.ts';

interface Script {
  readonly source: string;
  readonly sha1: string;
}

function load(file: string): Script {
  const source = readFileSync(new URL(`./scripts/${file}`, import.meta.url), 'utf8');
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}

export const REDIS_SCRIPTS = {
  compareAndSet: load('compareAndSet-n.lua'),
  moveWatermarks: load('moveWatermarks-1.lua'),
  readWithWatermarks: load('readWithWatermarks-2.lua'),
  leaseDue: load('leaseDue-1.lua'),
  postponeDue: load('postponeDue-1.lua'),
  compareAndSetRecord: load('compareAndSetRecord-1.lua'),
  dropWatermarks: load('dropWatermarks-1.lua'),
  dropStates: load('dropStates-n.lua'),
  claimLayout: load('claimLayout-1.lua'),
  probeRestating: load('probeRestating-1.lua'),
} as const;

export type RedisScriptName = keyof typeof REDIS_SCRIPTS;

/** One call of a script, which can be made twice: by hash, then with the source. */
export class ScriptCall {
  readonly byHash: RedisCommand;
  readonly #source: string;
  readonly #routingKey: string;

  /** @param args number of keys, keys, arguments */
  constructor(name: RedisScriptName, args: RespArguments, routingKey: string) {
    const { source, sha1 } = REDIS_SCRIPTS[name];
    this.byHash = new RedisCommand('evalsha', args, routingKey, [sha1]);
    this.#source = source;
    this.#routingKey = routingKey;
  }

  withSource(): RedisCommand {
    return new RedisCommand('eval', this.byHash.encodedArguments, this.#routingKey, [this.#source]);
  }
}
