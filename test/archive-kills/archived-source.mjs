// The source of the kill test, and its events. `millrace` is dist in the process that is killed, and the sources in the
// process that checks.
import {
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  timestamp,
} from 'millrace';

const taps = streamSource({
  name: 'taps',
  columns: { at: timestamp(), n: integer(), text: string() },
  eventTime: 'at',
});
const view = featureView({
  name: 'v',
  source: taps,
  entity: entity('text'),
  features: { taps: count().over('1d') },
});

export const tapsSource = compileRepo([featureService({ name: 's', features: [view] })]).sources.get('taps');

export const PARTITIONS = 2;
const DAY_MS = 86_400_000;

/** The nth event that a process appends, of one of four days. */
export function eventOf(n) {
  return { at: 1_790_000_000_000 - (n % 4) * DAY_MS, n, text: `text ${n % 17}` };
}
