/**
 * What a disk may hold when the power fails at some moment of a recording.
 *
 * A flush puts what was written before it began on the disk. Of what was written since then each sector of 512 bytes
 * may hold any of the contents it has had since: a disk writes sectors whole, the kernel writes pages in any order, at
 * any time. Of changes of names (new files, renames) the file system keeps those whose directory was flushed, and of the
 * others a part that was made first, as its journal is in order; that a file's own flush also keeps its name, as on
 * ext4, is not relied on. How long a file is follows from the sectors it keeps.
 */
import type { SeededRandom } from '../../engine/testing/random.ts';
import { type Disk, isLockFile, parentOf } from './disk.ts';
import type { FileNumber, WriteRecord } from './write-record.ts';

export const SECTOR_BYTES = 512;
const SECTORS_PER_PAGE = 8;

/** What becomes of writes that were not flushed. */
export const LEFTOVERS = {
  none: 'every unflushed write is lost',
  all: 'every unflushed write is kept',
  sectors: 'each sector keeps one of its contents',
  pages: 'each page of 4 kB keeps one of its contents',
  writes: 'each write is kept or lost as a whole',
  torn: 'writes are kept up to one that is cut off in the middle, at a sector',
} as const;

export type Leftovers = keyof typeof LEFTOVERS;

/** A disk that does not do what it is told: what is promised must break on it. */
export type Lie = 'flush' | 'synced' | 'flush-directory';

interface PendingWrite {
  readonly number: number;
  readonly position: number;
  readonly bytes: Buffer;
  /** Made with O_DSYNC and returned: on disk, whatever was written there before. */
  isOnDisk: boolean;
}

type NameChange =
  | { readonly kind: 'create' | 'mkdir'; readonly number: number; readonly path: string; readonly node: Node }
  | { readonly kind: 'remove'; readonly number: number; readonly path: string }
  | {
      readonly kind: 'rename';
      readonly number: number;
      readonly from: string;
      readonly to: string;
      readonly node: Node;
    };

type Node = FileContent | 'directory';
type Names = Map<string, Node>;

export class RecordedDisk {
  readonly #records: readonly WriteRecord[];
  readonly #lie: Lie | undefined;
  /** As the process sees them. */
  readonly #names: Names;
  /** Those that are certain to be on the disk. */
  readonly #certainNames: Names;
  #nameChanges: NameChange[] = [];
  readonly #files = new Map<FileNumber, FileContent>();
  #next = 0;

  constructor(start: Disk, records: readonly WriteRecord[], lie?: Lie) {
    this.#records = records;
    this.#lie = lie;
    const names: Names = new Map(start.directories.map((path) => [path, 'directory']));
    for (const [path, bytes] of start.files) names.set(path, new FileContent(Buffer.from(bytes)));
    this.#names = names;
    this.#certainNames = new Map(names);
  }

  /** Goes on to the moment before the record of that number. */
  advance(number: number): void {
    if (number < this.#next) throw new Error('a recording is gone through forwards');
    for (; this.#next < number; this.#next++) this.#take(this.#records[this.#next]!, this.#next);
  }

  /** What the process would read now: every write. */
  present(): Disk {
    return diskOf(this.#names, (file) => file.present());
  }

  /** One of the disks that a power failure now may leave. */
  afterPowerLoss(leftovers: Leftovers, random: SeededRandom): Disk {
    const names = new Map(this.#certainNames);
    const kept = keptOf(this.#nameChanges.length, leftovers, random);
    for (const change of this.#nameChanges.slice(0, kept)) apply(change, names);
    return diskOf(names, (file) => file.afterPowerLoss(leftovers, random));
  }

  /** Bytes of files written and not flushed. */
  unflushedBytes(): number {
    let bytes = 0;
    for (const node of new Set(this.#names.values()))
      if (node !== 'directory') bytes += node.unflushedBytes();
    return bytes;
  }

  #take(record: WriteRecord, number: number): void {
    switch (record.kind) {
      case 'file':
        this.#files.set(record.file, this.#fileNamed(record.path));
        return;
      case 'create':
        if (!isLockFile(record.path))
          this.#change({ kind: 'create', number, path: record.path, node: new FileContent(Buffer.alloc(0)) });
        return;
      case 'mkdir':
        this.#change({ kind: 'mkdir', number, path: record.path, node: 'directory' });
        return;
      case 'remove':
        if (!isLockFile(record.path)) this.#change({ kind: 'remove', number, path: record.path });
        return;
      case 'rename':
        this.#change({
          kind: 'rename',
          number,
          from: record.from,
          to: record.to,
          node: this.#fileNamed(record.from),
        });
        return;
      case 'write':
        this.#file(record.file).write({
          number,
          position: record.position,
          bytes: record.bytes,
          isOnDisk: false,
        });
        return;
      case 'truncate':
        if (record.size !== 0 || !this.#file(record.file).isEmpty)
          throw new Error('cutting off a file is not modelled');
        return;
      case 'flush':
        if (this.#lie !== 'flush') this.#file(record.file).flush(record.upTo);
        return;
      case 'synced':
        if (this.#lie !== 'synced') this.#file(record.file).synced(record.write);
        return;
      case 'flush-directory':
        if (this.#lie !== 'flush-directory') this.#flushDirectory(record.path, record.upTo);
        return;
      case 'mapped':
        throw new Error('a file was mapped writable: its writes are not seen');
      case 'unknown':
        throw new Error(`not modelled: ${record.call}`);
      case 'output':
    }
  }

  #file(file: FileNumber): FileContent {
    return this.#files.get(file)!;
  }

  #fileNamed(path: string): FileContent {
    const node = this.#names.get(path);
    if (node === undefined || node === 'directory') throw new Error(`there is no file ${path}`);
    return node;
  }

  #change(change: NameChange): void {
    apply(change, this.#names);
    this.#nameChanges.push(change);
  }

  #flushDirectory(path: string, upTo: number): void {
    const isFlushed = (change: NameChange): boolean =>
      change.number < upTo && parentOf(change.kind === 'rename' ? change.to : change.path) === path;
    for (const change of this.#nameChanges) if (isFlushed(change)) apply(change, this.#certainNames);
    this.#nameChanges = this.#nameChanges.filter((change) => !isFlushed(change));
  }
}

/** The contents of one file: what is on the disk, and what was written since. */
class FileContent {
  #onDisk: Buffer;
  #size: number;
  #pending: PendingWrite[] = [];

  constructor(bytes: Buffer) {
    this.#onDisk = bytes;
    this.#size = bytes.length;
  }

  get isEmpty(): boolean {
    return this.#size === 0 && this.#pending.length === 0;
  }

  write(write: PendingWrite): void {
    this.#pending.push(write);
  }

  flush(upTo: number): void {
    for (const write of this.#pending) if (write.number < upTo) this.#put(write);
    this.#pending = this.#pending.filter(({ number }) => number >= upTo);
  }

  synced(number: number): void {
    for (const write of this.#pending) if (write.number === number) write.isOnDisk = true;
  }

  unflushedBytes(): number {
    return this.#pending.reduce((sum, { bytes, isOnDisk }) => sum + (isOnDisk ? 0 : bytes.length), 0);
  }

  present(): Buffer {
    const content = new FileContent(Buffer.from(this.#onDisk.subarray(0, this.#size)));
    for (const write of this.#pending) content.#put(write);
    return content.#onDisk.subarray(0, content.#size);
  }

  afterPowerLoss(leftovers: Leftovers, random: SeededRandom): Buffer {
    const sectors = new Map<number, SectorVersions>();
    for (const [index, write] of this.#pending.entries()) this.#addVersions(sectors, write, index);
    const choose = chooser(leftovers, this.#pending, random);
    const content = new FileContent(Buffer.from(this.#onDisk.subarray(0, this.#size)));
    for (const [sector, versions] of sectors) {
      const { bytes, end } = choose(sector, versions);
      if (end > 0) content.#put({ position: sector * SECTOR_BYTES, bytes: bytes.subarray(0, end) });
    }
    return content.#onDisk.subarray(0, content.#size);
  }

  #addVersions(sectors: Map<number, SectorVersions>, write: PendingWrite, index: number): void {
    const last = write.position + write.bytes.length;
    for (let sector = Math.floor(write.position / SECTOR_BYTES); sector * SECTOR_BYTES < last; sector++) {
      const start = sector * SECTOR_BYTES;
      let versions = sectors.get(sector);
      if (versions === undefined) {
        const bytes = Buffer.alloc(SECTOR_BYTES);
        const end =
          start < this.#size
            ? this.#onDisk.copy(bytes, 0, start, Math.min(this.#size, start + SECTOR_BYTES))
            : 0;
        versions = [{ bytes, end, write: -1 }];
        sectors.set(sector, versions);
      }
      const former = versions.at(-1)!;
      const bytes = Buffer.from(former.bytes);
      const from = Math.max(start, write.position);
      const to = Math.min(start + SECTOR_BYTES, last);
      write.bytes.copy(bytes, from - start, from - write.position, to - write.position);
      const end = Math.max(former.end, to - start);
      if (write.isOnDisk) versions.length = 0;
      versions.push({ bytes, end, write: index });
    }
  }

  #put({ position, bytes }: { position: number; bytes: Buffer }): void {
    const end = position + bytes.length;
    if (end > this.#onDisk.length) {
      const grown = Buffer.alloc(Math.max(end, this.#onDisk.length * 2));
      this.#onDisk.copy(grown, 0, 0, this.#size);
      this.#onDisk = grown;
    }
    bytes.copy(this.#onDisk, position);
    this.#size = Math.max(this.#size, end);
  }
}

/** Contents that one sector has had, what is on disk first. `end`: bytes of it that lie within the file. */
type SectorVersions = { readonly bytes: Buffer; readonly end: number; readonly write: number }[];

type Choose = (sector: number, versions: SectorVersions) => SectorVersions[number];

function chooser(leftovers: Leftovers, pending: readonly PendingWrite[], random: SeededRandom): Choose {
  switch (leftovers) {
    case 'none':
      return (_, versions) => versions[0]!;
    case 'all':
      return (_, versions) => versions.at(-1)!;
    case 'sectors':
      return (_, versions) => random.pick(versions);
    case 'pages': {
      const ofPage = new Map<number, number>();
      return (sector, versions) => {
        const page = Math.floor(sector / SECTORS_PER_PAGE);
        const kept = ofPage.get(page) ?? random.below(versions.length);
        ofPage.set(page, kept);
        return versions[Math.min(kept, versions.length - 1)]!;
      };
    }
    case 'writes': {
      const share = random.pick([0.1, 0.5, 0.9]);
      const isKept = pending.map(() => random.chance(share));
      return (_, versions) => versions.findLast(({ write }, i) => i === 0 || isKept[write])!;
    }
    case 'torn': {
      const cut = random.below(pending.length + 1);
      const torn = pending[cut];
      const sectorCount = torn === undefined ? 0 : Math.ceil(torn.bytes.length / SECTOR_BYTES);
      const firstLost =
        torn === undefined ? 0 : Math.floor(torn.position / SECTOR_BYTES) + random.below(sectorCount + 1);
      const isKept = (write: number, sector: number): boolean =>
        write < cut || (write === cut && sector < firstLost);
      return (sector, versions) => versions.findLast(({ write }, i) => i === 0 || isKept(write, sector))!;
    }
  }
}

function keptOf(count: number, leftovers: Leftovers, random: SeededRandom): number {
  if (leftovers === 'none') return 0;
  return leftovers === 'all' ? count : random.below(count + 1);
}

function apply(change: NameChange, names: Names): void {
  switch (change.kind) {
    case 'create':
    case 'mkdir':
      names.set(change.path, change.node);
      return;
    case 'remove':
      names.delete(change.path);
      return;
    case 'rename':
      names.delete(change.from);
      names.set(change.to, change.node);
  }
}

/** Only what can be reached: a file whose directory is not there is lost. */
function diskOf(names: Names, content: (file: FileContent) => Buffer): Disk {
  const paths = [...names.keys()].sort();
  const reached = new Set(['']);
  const directories: string[] = [];
  const files = new Map<string, Buffer>();
  for (const path of paths) {
    if (!reached.has(parentOf(path))) continue;
    const node = names.get(path)!;
    if (node === 'directory') {
      reached.add(path);
      directories.push(path);
    } else {
      files.set(path, content(node));
    }
  }
  return { directories, files };
}
