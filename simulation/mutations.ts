/**
 * Mistakes that can be planted: each replaces one part of the protocol by the mistake it is there to prevent, and the
 * simulation must then fail. `npm run mutations` hunts for all of them.
 */
import { tailOffset, tailPartition } from '../engine/tiles/head.ts';
import { PROTOCOL, type ProtocolRules } from '../engine/tiles/state-protocol.ts';

export const MUTATIONS = {
  no_cas: 'a state is written whatever its token: the compare-and-set compares nothing',
  no_offset_check: 'a record is applied whatever the state says of its offset',
  highest_offset: 'a record counts as applied when a higher offset of its partition was; folds take any row',
  counter_token: 'the token is a counter instead of random bits',
  no_dedupe: 'events with an id that was seen are applied again',
  torn_fold: 'a fold writes the tree in one step and the head in another',
  no_incarnation_check: 'a watermark moves although the store fell back since it was read',
  stale_watermark: 'a fold uses a watermark that was not read at the same instant as the state',
  watermark_by_offset: 'a watermark moves when its offset is the one read, whatever its token',
  watermark_from_absent:
    'a watermark moves past records although it is absent: after a wipe, or before its first write',
  no_floor: 'a record is skipped only while its row is in the tail',
  early_forgotten:
    'a row that leaves the tail above the watermark leaves nothing behind that says it was applied',
  ids_forgotten: 'ids are forgotten when rows are folded',
  states_not_awaited: 'the watermark moves before the states are written',
  replay_not_awaited: 'compaction merges rows for good while the log is being replayed',
  gap_silent: 'the watermark is not compared with where the log begins',
  gap_forgotten: 'a watermark that passes records which are gone does not say so',
  end_before_watermark: 'the end of the log is read before the watermark it is compared with',
  dlq_identity: 'a dead letter that is replayed is a record like any other, not a copy of the one it is of',
  letters_not_awaited: 'the watermark moves before dead letters are written',
  unapplied_forgotten: 'a watermark counts as applied what it passes with a dead letter',
  lost_schema_passed: 'a record whose schema the registry has lost is passed over like an applied one',
  join_without_watermark:
    'a rebuild takes a partition without a watermark for one that is as far as what is read',
  rebuild_gap_silent: 'a rebuild does not look whether the log has lost what the present state counts',
  rebuild_letters_forgotten: 'a rebuild writes no letter of what it cannot use and the present state counts',
  rebuild_states_not_awaited: 'a rebuild moves watermarks before its states are written',
  record_no_cas: 'the record that says where a state lies is written whatever its token',
  active_retired: 'a namespace is removed although it is the one that is read',
  grace_forgotten: 'a namespace is removed while processes apply it still',
  states_before_watermarks: 'of a namespace that is removed the states go before the watermarks',
  other_key: 'an answer is made of the state that was read before it',
  marks_not_compared:
    'a reader does not compare what it reads with the mark of the shard that it saw with the watermarks',
  other_shard: 'a reader compares the mark of another shard',
  mark_after_watermarks: 'a reader sees the mark of a shard later than its watermarks',
  mark_before_state: 'the mark that a read is told by was read before the state',
  ends_of_before: 'a reader takes the ends of the log that it saw at the look before',
  fresh_when_moved: 'what a reader finds in the log counts as appended when it is found',
  blindness_not_told: 'a reader that has not seen log or store for too long does not say so',
  behind_asked_late: 'whether a reader is behind the log is asked only after it has read',
  gap_not_told: 'a value does not say that records are missing for good',
  away_is_lost: 'a registry that does not answer is taken for one that does not have the schema',
} as const;

export type Mutation = keyof typeof MUTATIONS;

export function mutatedRules(mutation: Mutation | null): ProtocolRules {
  if (mutation === 'no_dedupe') return { ...PROTOCOL, dedupe: false };
  if (mutation === 'no_offset_check') return { ...PROTOCOL, isApplied: () => false };
  if (mutation === 'no_floor') {
    const isApplied: ProtocolRules['isApplied'] = (head, partition, offset) =>
      PROTOCOL.isApplied({ ...head, floors: new Map() }, partition, offset);
    return { ...PROTOCOL, isApplied };
  }
  if (mutation === 'early_forgotten') return { ...PROTOCOL, remembersEarly: false };
  if (mutation !== 'highest_offset') return PROTOCOL;
  return {
    ...PROTOCOL,
    isApplied(head, partition, offset) {
      let highest = (head.floors.get(partition) ?? 0) - 1;
      for (let i = 0; i < head.tail.length; i++) {
        if (tailPartition(head.tail, i) === partition) highest = Math.max(highest, tailOffset(head.tail, i));
      }
      return offset <= highest;
    },
    foldBelow(_watermark, tail, partition) {
      let highest = -1;
      for (let i = 0; i < tail.length; i++) {
        if (tailPartition(tail, i) === partition) highest = Math.max(highest, tailOffset(tail, i));
      }
      return highest + 1;
    },
  };
}
