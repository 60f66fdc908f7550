/**
 * Copies many small byte ranges cheaply: they share slabs of 64 KiB instead of having one `ArrayBuffer` each
 * (600 B: 0.2 µs against 2 µs). A slab is never used twice, so a copy stays valid as long as it is referenced;
 * keeping one small copy keeps its whole slab.
 */
const SLAB_BYTES = 64 * 1024;
const SHARED_BYTES_MAX = SLAB_BYTES / 4;

export class ByteArena {
  #slab = new Uint8Array(0);
  #used = 0;

  /** Zeroed bytes to be filled by the caller. */
  allocate(bytes: number): Uint8Array {
    if (bytes > SHARED_BYTES_MAX) return new Uint8Array(bytes);
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used = start + bytes;
    return this.#slab.subarray(start, start + bytes);
  }

  copy(source: Uint8Array): Uint8Array {
    const target = this.allocate(source.length);
    target.set(source);
    return target;
  }
}
