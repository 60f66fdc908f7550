/**
 * The matrix: every operation × every kind of window × exact or `resolution` × where the rows that count lie. Which
 * operations a window or a resolution refuses is asked of the definition check itself.
 */
import { operationRegistry } from '../../aggregators/operation-registry.ts';
import type { ColumnType, Operation } from '../../aggregators/partial-aggregate.ts';
import { compileRepo } from '../../definitions/compile.ts';
import { entity } from '../../definitions/entity.ts';
import { featureView } from '../../definitions/feature-view.ts';
import { streamSource } from '../../definitions/stream-source.ts';
import type { Feature, Window } from '../../definitions/types.ts';
import type { RepoTarget } from '../random-repo.ts';

export type WindowKind = Window['kind'];

/**
 * Where the events lie that a value is made of:
 * - `tail`: all among the newest rows in the head, the live tail;
 * - `tiles`: all in the tree, which ingest alone has written since the last compaction, if there was any;
 * - `compacted`: all in the tree, and the compactor wrote it last;
 * - `late`: at least one that came after a compaction and belongs before what was compacted;
 * - `mixed`: some in the tail, some in the tree, none of them late.
 */
export const PHASES = ['tail', 'tiles', 'compacted', 'late', 'mixed'] as const;
export type Phase = (typeof PHASES)[number];

const HOUR_MS = 3_600_000;

/** One window of each kind: a kind that is added to the definitions does not compile until it is added here. */
const SAMPLES: { readonly [K in WindowKind]: Extract<Window, { kind: K }> } = {
  sliding: { kind: 'sliding', sizeMs: HOUR_MS, offsetMs: 0 },
  lifetime: { kind: 'lifetime', offsetMs: 0 },
  series: { kind: 'series', startMs: 2 * HOUR_MS, endMs: 0, sizeMs: HOUR_MS, stepMs: HOUR_MS },
  calendar: { kind: 'calendar', unit: 'day', timeZone: 'UTC', weekStart: 'monday' },
  last_events: { kind: 'last_events', count: 3, withinMs: null },
};

export const WINDOW_KINDS = Object.keys(SAMPLES) as WindowKind[];

const TYPES: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'boolean', 'timestamp'];

function sampleFeature(operation: Operation, window: Window): Feature {
  const { params, list } = operation;
  return {
    kind: 'feature',
    operation: operation.name,
    column: operation.accepts === null ? null : operation.accepts[0]!,
    params: [
      ...params.map(({ default: fallback, min }) => fallback ?? min),
      ...(list === undefined ? [] : [Math.max(1, list.min)]),
    ],
    ...(operation.orderedBy === undefined ? {} : { orderBy: operation.orderedBy[0]! }),
    window,
  };
}

/** Whether a view with this feature and no other is a valid definition. */
function isTaken(operation: Operation, window: Window, resolution: boolean): boolean {
  const source = streamSource({
    name: 'events',
    columns: {
      id: { type: 'integer', nullable: false },
      at: { type: 'timestamp', nullable: false },
      card: { type: 'string', nullable: false },
      ...Object.fromEntries(TYPES.map((type) => [type, { type, nullable: false }])),
    },
    eventTime: 'at',
    eventId: 'id',
  } as never);
  const view = featureView({
    name: 'view',
    source,
    entity: entity('card'),
    features: { f: sampleFeature(operation, window) },
    ...(resolution ? { resolution: HOUR_MS } : {}),
  } as never);
  try {
    compileRepo([view]);
    return true;
  } catch {
    return false;
  }
}

function allTargets(): { readonly taken: RepoTarget[]; readonly refused: RepoTarget[] } {
  const taken: RepoTarget[] = [];
  const refused: RepoTarget[] = [];
  for (const operation of operationRegistry.values()) {
    // Were the sample itself wrong, every cell of the operation would be missing and nobody would notice.
    if (!isTaken(operation, SAMPLES.sliding, false)) {
      throw new Error(`${operation.name} is refused over a plain sliding window`);
    }
    for (const windowKind of WINDOW_KINDS) {
      for (const resolution of [false, true]) {
        const target = { operation, windowKind, resolution };
        if (isTaken(operation, SAMPLES[windowKind], resolution)) taken.push(target);
        else refused.push(target);
      }
    }
  }
  return { taken, refused };
}

/** What a feature can be, and what the definition check refuses. */
export const { taken: TARGETS, refused: REFUSED_TARGETS } = allTargets();

/** What the case of this seed aims at: every target comes up once in as many seeds as there are targets. */
export function targetOf(seed: number): RepoTarget {
  return TARGETS[seed % TARGETS.length]!;
}

export function cellName({ operation, windowKind, resolution }: RepoTarget, phase: Phase): string {
  return `${operation.name} × ${windowKind} × ${resolution ? 'resolution' : 'exact'} × ${phase}`;
}

/** Every cell that values can be found for. */
export function cellNames(): string[] {
  return TARGETS.flatMap((target) => PHASES.map((phase) => cellName(target, phase)));
}
