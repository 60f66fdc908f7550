/**
 * Where the state of a view lies: a record in the store that all processes of a deployment follow.
 *
 * A view's own namespace, the hash of its definition, is where its state lies while there is no record. A rebuild fills
 * another one beside it:
 *
 *     nothing  ──begun──►  building  ──joined──►  building, applied by ingest too  ──switched──►  active
 *
 * One that is filled from a history at first has a *cut*: what lies below these offsets comes from the history, the rest from
 * the log. Its watermarks are made at the cut when the history is in; until then nobody applies the log to it.
 *
 * What was active before is *retiring*: ingest goes on applying it for a while, so that a store that falls back to the
 * record of before finds it alive; then compaction removes it. The record is named after the definition, not the view:
 * a changed view has another one, and two versions in a rolling upgrade do not meet.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import type { StoreRecord, Token } from '../engine/store/tile-store.ts';

export interface ViewBinding {
  /** Of the record; null: there is none. */
  readonly token: Token | null;
  /** The namespace that is read. */
  readonly active: string;
  readonly building: {
    readonly namespace: string;
    /** Whether ingest applies it as well: it is near the log's end. */
    readonly joined: boolean;
    /** Whether it may lack events that the log has lost and the active one counts: somebody has said so. */
    readonly acceptGap: boolean;
    /** By partition, where a history fills it first; null: the log alone does. */
    readonly cut: readonly number[] | null;
    /** What tells the history from another one; null: there is none. */
    readonly history: string | null;
  } | null;
  readonly retiring: readonly {
    readonly namespace: string;
    /** Applied until then, processing time, ms; removed some time later. */
    readonly untilMs: number;
  }[];
}

/** How long what was active before is kept applied, ms: 10 min. */
export const DEFAULT_GRACE_MS = 600_000;

/** The name of a view's record: of its definition, as said above. */
export function bindingName(view: CompiledView): string {
  return `view:${view.namespace}`;
}

/** The text is JSON. @throws StoreFormatError where it is not what this version writes */
export function decodeBinding(view: CompiledView, record: StoreRecord | null): ViewBinding {
  if (record === null) return { token: null, active: view.namespace, building: null, retiring: [] };
  const { token } = record;
  try {
    const { active, building, retiring } = JSON.parse(record.text);
    return {
      token,
      active: namespaceOf(active),
      building:
        building === null
          ? null
          : {
              namespace: namespaceOf(building.namespace),
              joined: booleanOf(building.joined),
              // A build before these did not write it.
              acceptGap: booleanOf(building.acceptGap ?? false),
              history:
                building.history === undefined || building.history === null ? null : String(building.history),
              cut: (building.cut ?? null) === null ? null : (building.cut as unknown[]).map(numberOf),
            },
      retiring: (retiring as { namespace: unknown; untilMs: unknown }[]).map((entry) => ({
        namespace: namespaceOf(entry.namespace),
        untilMs: numberOf(entry.untilMs),
      })),
    };
  } catch (cause) {
    throw new StoreFormatError(
      `the record in the store that says where the state of view ${view.name} lies is not of this version`,
      { cause },
    );
  }
}

export function encodeBinding({ active, building, retiring }: Omit<ViewBinding, 'token'>): string {
  return JSON.stringify({ active, building, retiring });
}

export const begun = (
  binding: ViewBinding,
  namespace: string,
  filling: Pick<NonNullable<ViewBinding['building']>, 'acceptGap' | 'cut' | 'history'>,
): ViewBinding => ({ ...binding, building: { namespace, joined: false, ...filling } });

export const accepting = (binding: ViewBinding): ViewBinding => ({
  ...binding,
  building: binding.building && { ...binding.building, acceptGap: true },
});

export const joined = (binding: ViewBinding): ViewBinding => ({
  ...binding,
  building: binding.building && { ...binding.building, joined: true },
});

/** @param untilMs up to when the namespace of before is kept applied */
export const switched = (binding: ViewBinding, untilMs: number): ViewBinding => ({
  ...binding,
  active: binding.building?.namespace ?? binding.active,
  building: null,
  retiring: [...binding.retiring, { namespace: binding.active, untilMs }],
});

/** What was building is removed as soon as whoever applies it has had time to notice. */
export const aborted = (binding: ViewBinding, nowMs: number): ViewBinding => ({
  ...binding,
  building: null,
  retiring: [
    ...binding.retiring,
    ...(binding.building === null ? [] : [{ namespace: binding.building.namespace, untilMs: nowMs }]),
  ],
});

export const removed = (binding: ViewBinding, namespace: string): ViewBinding => ({
  ...binding,
  retiring: binding.retiring.filter((entry) => entry.namespace !== namespace),
});

function namespaceOf(value: unknown): string {
  if (typeof value !== 'string' || !/^[0-9a-f]{16}$/.test(value)) throw new TypeError('no namespace');
  return value;
}

function booleanOf(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new TypeError('neither true nor false');
  return value;
}

function numberOf(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new TypeError('no whole number');
  return value as number;
}
