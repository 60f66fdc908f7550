/** What a run has met, so that the tests can say that everything there is to meet was met. */
import type { CompiledFeature } from '../../definitions/compiled.ts';
import type { RepoTarget } from '../random-repo.ts';
import { cellName, cellNames, PHASES, type Phase, WINDOW_KINDS } from './cells.ts';

export interface CoverageCounts {
  readonly cases: number;
  readonly values: number;
  readonly seen: readonly (readonly [string, number])[];
  /** In the order of `cellNames`. */
  readonly cells: readonly number[];
}

export class Coverage {
  cases = 0;
  /** Values that were compared with the oracle. */
  values = 0;
  readonly seen = new Map<string, number>();
  readonly #cells = new Map<string, number>(cellNames().map((name) => [name, 0]));

  meet(what: string, times = 1): void {
    if (times > 0) this.seen.set(what, (this.seen.get(what) ?? 0) + times);
  }

  meetCell({ operation, window }: CompiledFeature, resolution: boolean, phase: Phase): void {
    const name = cellName({ operation, windowKind: window.kind, resolution }, phase);
    const times = this.#cells.get(name);
    // A value of a definition that the check refuses: then the matrix is not what the code takes.
    if (times === undefined) throw new Error(`the matrix has no cell ${name}`);
    this.#cells.set(name, times + 1);
  }

  /** For another process. */
  counts(): CoverageCounts {
    const { cases, values } = this;
    return { cases, values, seen: [...this.seen], cells: [...this.#cells.values()] };
  }

  add({ cases, values, seen, cells }: CoverageCounts): void {
    this.cases += cases;
    this.values += values;
    for (const [what, times] of seen) this.meet(what, times);
    for (const [i, name] of [...this.#cells.keys()].entries()) {
      this.#cells.set(name, this.#cells.get(name)! + cells[i]!);
    }
  }

  /** Whether a cell of the target has no value. */
  isMissing(target: RepoTarget): boolean {
    return PHASES.some((phase) => this.#cells.get(cellName(target, phase)) === 0);
  }

  /** Cells without a value. */
  missing(): string[] {
    return [...this.#cells].flatMap(([name, times]) => (times === 0 ? [name] : []));
  }

  occurrences(): string[] {
    return [...this.seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, times]) => `  ${what}: ${times}`);
  }

  /** For each kind of window and phase: cells met of all, and how often the rarest and the middle one were. */
  summary(): string[] {
    const lines = ['values per cell, rarest / median, and cells met of all, by window and phase:'];
    for (const mode of ['exact', 'resolution']) {
      for (const kind of WINDOW_KINDS) {
        const parts = PHASES.map((phase) => {
          const counts = [...this.#cells]
            .filter(([name]) => name.endsWith(` × ${kind} × ${mode} × ${phase}`))
            .map(([, times]) => times)
            .sort((a, b) => a - b);
          const met = counts.filter((times) => times > 0).length;
          const median = counts[Math.floor(counts.length / 2)] ?? 0;
          return `${phase} ${counts[0] ?? 0}/${median} (${met} of ${counts.length})`;
        });
        lines.push(`  ${mode.padEnd(10)} ${kind.padEnd(11)} ${parts.join(', ')}`);
      }
    }
    return lines;
  }
}
