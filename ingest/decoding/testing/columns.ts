import { streamSource } from '../../../engine/definitions/stream-source.ts';
import type { Columns, StreamSource } from '../../../engine/definitions/types.ts';

/** A source with these columns and its event time, `at`. */
export function sourceWith(columns: Columns): StreamSource {
  // The types know no columns made at run time.
  return streamSource({
    name: 'events',
    columns: { at: { type: 'timestamp', nullable: true }, ...columns },
    eventTime: 'at' as never,
  });
}
