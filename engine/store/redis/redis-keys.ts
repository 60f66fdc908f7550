/**
 * The keys of the Redis tile store. All text is UTF-8; `<…>` stands for a part, everything else is as it is.
 *
 *     layout      <prefix>:{0}:layout                              hash: format, shards, clock
 *     records     <prefix>:{0}:r                                   hash: <name> = token 8 bytes · text
 *     state       <prefix>:{<shard>}:s:<namespace>:<entity key>    hash: `.` = token 8 bytes · life 4 bytes · head,
 *                                                                  and a field of its own for each field, by its name
 *     watermarks  <prefix>:{<shard>}:w                             hash: <namespace>:<partition>:<source> = watermark
 *                                                                  `.m` = mark: history 8 bytes · decimal moves
 *                                                                  `.i` = incarnation that the history is of
 *     due index   <prefix>:{<shard>}:d                             sorted set: <namespace>:<entity key>, score ms
 *
 *     prefix      1 to 64 letters, digits, `_`, `-` and `.`
 *     shard, partition   decimal, without leading zeros
 *     namespace   16 lower-case hex digits
 *     entity key, source   the bytes of the text as they are, to the end
 *     watermark   as in watermark-bytes.ts
 *     life        the first 4 bytes of the run_id of the server that wrote it
 *
 * One shard is one hash slot: state, watermarks and due entry are changed by one script, and a cluster moves and
 * loses them together. The hash tag is what stands between the first `{` and the first `}` behind it: as prefix and
 * shard hold neither, no entity key can break out of it. The encoding is injective, because every part but the
 * last one has a fixed length or cannot hold the `:` that ends it. The head's field has a name that no field can
 * have. A due member is what follows `:s:` in the state's key.
 */
import { checkAddress, checkNamespace, checkWatermarkName, InvalidAddressError } from '../state-address.ts';
import { StoreSetupError } from '../store-errors.ts';
import type { StateAddress, WatermarkName } from '../tile-store.ts';

/** The hash field that holds token and head: not a `FieldName`, so none can collide with it. */
export const HEAD_FIELD = '.';

/** The field of the watermarks with the shard's mark; the name of a watermark begins with a hex digit. */
export const MARK_FIELD = '.m';

export const DEFAULT_REDIS_PREFIX = 'mr';
const PREFIX = /^[A-Za-z0-9_.-]{1,64}$/;
const NAMESPACE_DIGITS = 16;

/** Without `ignoreBOM` a key that starts with U+FEFF would lose it. */
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws StoreSetupError */
export function checkPrefix(prefix: string): void {
  if (PREFIX.test(prefix)) return;
  throw new StoreSetupError('a Redis key prefix is 1 to 64 letters, digits, "_", "-" and "."');
}

export function layoutKey(prefix: string): string {
  return `${prefix}:{0}:layout`;
}

export function recordsKey(prefix: string): string {
  return `${prefix}:{0}:r`;
}

/** The keys of one shard. */
export interface ShardKeys {
  /** What the key of every state of the shard starts with. */
  readonly statePrefix: string;
  readonly watermarks: string;
  readonly due: string;
}

export class RedisKeys {
  readonly #shards: readonly ShardKeys[];

  /** @throws StoreSetupError for a prefix that could break the layout */
  constructor(prefix: string, shards: number) {
    checkPrefix(prefix);
    this.#shards = Array.from({ length: shards }, (_, shard) => ({
      statePrefix: `${prefix}:{${shard}}:s:`,
      watermarks: `${prefix}:{${shard}}:w`,
      due: `${prefix}:{${shard}}:d`,
    }));
  }

  get shards(): number {
    return this.#shards.length;
  }

  shard(shard: number): ShardKeys {
    const keys = this.#shards[shard];
    if (keys === undefined) {
      throw new InvalidAddressError(`shard must be an integer from 0 to ${this.shards - 1}, not ${shard}`);
    }
    return keys;
  }

  state(address: StateAddress): string {
    checkAddress(address);
    return `${this.shard(address.shard).statePrefix}${address.namespace}:${address.key}`;
  }
}

/** What watermark fields and due members of a namespace, and nothing else in their keys, begin with. */
export function namespacePrefix(namespace: string): string {
  checkNamespace(namespace);
  return `${namespace}:`;
}

export function dueMember(address: StateAddress): string {
  checkAddress(address);
  return `${address.namespace}:${address.key}`;
}

export function addressOfDueMember(shard: number, member: Uint8Array): StateAddress {
  return {
    shard,
    namespace: textDecoder.decode(member.subarray(0, NAMESPACE_DIGITS)),
    key: textDecoder.decode(member.subarray(NAMESPACE_DIGITS + 1)),
  };
}

export function watermarkField(name: WatermarkName): string {
  checkWatermarkName(name);
  return `${name.namespace}:${name.partition}:${name.source}`;
}
