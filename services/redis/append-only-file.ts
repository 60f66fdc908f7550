import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

/** Where a Redis with `appendonly` writes now. */
export class AppendOnlyFile {
  readonly #path: string;

  /** @param dir of the server */
  constructor(dir: string) {
    const folder = join(dir, 'appendonlydir');
    const numbers = readdirSync(folder).flatMap((name) => {
      const found = /\.(\d+)\.incr\.aof$/.exec(name);
      return found === null ? [] : [{ name, number: Number(found[1]) }];
    });
    this.#path = join(folder, numbers.sort((a, b) => a.number - b.number).at(-1)!.name);
  }

  get bytes(): number {
    return statSync(this.#path).size;
  }

  /** What a power loss may leave of it, while the server is dead: also half a transaction. */
  truncate(bytes: number): void {
    truncateSync(this.#path, bytes);
  }
}
