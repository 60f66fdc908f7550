/**
 * File operations that wait to be let through one by one: a test decides which of several owners goes on, and who has
 * died where it stands. What is not shown: a crash of the machine, as what is not flushed is there all the same.
 */
import { ARCHIVE_FILES, type ArchiveFiles } from '../archive-files.ts';

export class GatedFiles implements ArchiveFiles {
  #waiting: (() => void) | null = null;
  #onArrival: () => void = () => {};
  /** The operation that waits: its name; null: none does. */
  waitsFor: keyof ArchiveFiles | null = null;

  /** Resolves when an operation waits. */
  arrived(): Promise<void> {
    return new Promise((resolve) => {
      this.#onArrival = resolve;
      if (this.#waiting !== null) resolve();
    });
  }

  /** Lets the operation that waits happen. */
  pass(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.waitsFor = null;
    waiting?.();
  }

  makeDirectory: ArchiveFiles['makeDirectory'] = (...args) => this.#gated('makeDirectory', args);
  list: ArchiveFiles['list'] = (...args) => this.#gated('list', args);
  read: ArchiveFiles['read'] = (...args) => this.#gated('read', args);
  write: ArchiveFiles['write'] = (...args) => this.#gated('write', args);
  flush: ArchiveFiles['flush'] = (...args) => this.#gated('flush', args);
  link: ArchiveFiles['link'] = (...args) => this.#gated('link', args);
  rename: ArchiveFiles['rename'] = (...args) => this.#gated('rename', args);
  remove: ArchiveFiles['remove'] = (...args) => this.#gated('remove', args);

  async #gated<K extends keyof ArchiveFiles>(
    name: K,
    args: Parameters<ArchiveFiles[K]>,
  ): Promise<Awaited<ReturnType<ArchiveFiles[K]>>> {
    await new Promise<void>((resolve) => {
      this.#waiting = resolve;
      this.waitsFor = name;
      this.#onArrival();
    });
    const operation = ARCHIVE_FILES[name] as (...args: unknown[]) => ReturnType<ArchiveFiles[K]>;
    return (await operation(...args)) as Awaited<ReturnType<ArchiveFiles[K]>>;
  }
}
