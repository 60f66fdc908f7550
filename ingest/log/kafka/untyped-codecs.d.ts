/** The parts we use of packages without types. */
declare module 'snappyjs' {
  /** @throws where the text is no snappy or longer than `maxLength` */
  function uncompress(compressed: Buffer, maxLength?: number): Buffer;
  function compress(uncompressed: Buffer): Buffer;
  const snappy: { uncompress: typeof uncompress; compress: typeof compress };
  export default snappy;
}

declare module 'lz4js' {
  const lz4: {
    /** Returns the end of what was written; writes beyond `dst` are lost, so compare it with the length. */
    decompressBlock(src: Uint8Array, dst: Uint8Array, at: number, length: number, end: number): number;
    compress(src: Uint8Array): Uint8Array;
  };
  export default lz4;
}
