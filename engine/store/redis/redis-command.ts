/**
 * A Redis command whose bytes are ready to be sent. ioredis queues, times and answers it like any other; it never
 * sees the arguments, so that neither its errors nor its traces can hold an entity key.
 */
import { Command } from 'ioredis';
import type { RespArguments } from './resp-writer.ts';

export class RedisCommand extends Command {
  readonly #bytes: Buffer;
  readonly #headBytes: number;
  readonly #argumentCount: number;
  readonly #routingKey: string;

  /**
   * @param name the command, lower case
   * @param args its arguments; they are copied
   * @param routingKey a key of the shard: a cluster sends the command to the node that has its slot
   * @param firstArguments arguments in front of `args`
   */
  constructor(name: string, args: RespArguments, routingKey: string, firstArguments: readonly string[] = []) {
    super(name);
    let head = `*${1 + firstArguments.length + args.count}\r\n${frame(name)}`;
    for (const argument of firstArguments) head += frame(argument);
    const headBytes = Buffer.byteLength(head);
    const bytes = Buffer.allocUnsafe(headBytes + args.bytes.length);
    bytes.write(head, 0);
    args.bytes.copy(bytes, headBytes);
    this.#bytes = bytes;
    this.#headBytes = headBytes;
    this.#argumentCount = args.count;
    this.#routingKey = routingKey;
  }

  /** What was given as `args`, for a command that is to have the same ones. */
  get encodedArguments(): RespArguments {
    return { count: this.#argumentCount, bytes: this.#bytes.subarray(this.#headBytes) };
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }

  override getKeys(): string[] {
    return [this.#routingKey];
  }
}

/** A text as a bulk string. */
function frame(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}
