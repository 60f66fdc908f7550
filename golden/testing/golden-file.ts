/** The files of golden/, read strictly: an unknown key or a row that is too short is an error that names the file. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CALENDAR_UNITS, WEEK_STARTS } from '../../engine/windows/calendar-period.ts';

const FOLDER = dirname(dirname(fileURLToPath(import.meta.url)));

/** In place of a row: everything before it is compacted before the rest arrives. */
export const COMPACTION = 'compaction';

const text = z.string().min(1);
const time = z.iso.datetime();
const duration = z.string().regex(/^\d+(ms|s|m|h|d)$/);
const cell = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const row = z.array(cell);

const window = z.union([
  duration,
  z.literal('lifetime'),
  z.strictObject({ size: duration, offset: duration }),
  z.strictObject({ lifetime_offset: duration }),
  z.strictObject({
    series: z.strictObject({ start: duration, end: duration, size: duration, step: duration }),
  }),
  z.strictObject({
    since_start_of: z.enum(CALENDAR_UNITS),
    time_zone: text,
    week_start: z.enum(WEEK_STARTS).default('monday'),
  }),
  z.strictObject({ last_events: z.number(), within: duration.optional() }),
]);

const feature = z.strictObject({
  operation: text,
  column: text.optional(),
  params: z.record(text, z.union([z.number(), z.array(z.number())])).default({}),
  order_by: text.optional(),
  where: text.optional(),
  by: z.strictObject({ column: text, max: z.number() }).optional(),
  window,
});

const question = z.strictObject({
  note: text.optional(),
  key: text,
  at: time,
  event: row.optional(),
  expect: z.record(text, z.json()),
  empty: z.array(text).default([]),
  truncated: z.array(text).default([]),
  bounds: z.record(text, z.strictObject({ after: time.nullable(), until: time })).default({}),
  coarse: z.record(text, z.strictObject({ after: time, value: z.json() })).default({}),
});

const file = z.strictObject({
  title: text,
  notes: z.array(text).default([]),
  source: z.strictObject({
    columns: z.record(text, z.string().regex(/^(string|integer|long|double|boolean|timestamp)\??$/)),
    event_time: text,
    event_id: text,
    dedupe_horizon: duration.default('1h'),
  }),
  view: z.strictObject({
    entity: text,
    filter: text.optional(),
    resolution: duration.optional(),
    as_of_retention: duration.default('1d'),
    features: z.record(text, feature),
  }),
  events: z.array(z.union([row, z.literal(COMPACTION)])),
  questions: z.array(question).min(1),
});

export type GoldenFile = z.infer<typeof file>;
export type GoldenFeature = z.infer<typeof feature>;
export type GoldenQuestion = z.infer<typeof question>;
export type GoldenRow = z.infer<typeof row>;

export function readGoldenFiles(): ReadonlyMap<string, GoldenFile> {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
  return new Map(names.sort().map((name) => [basename(name, '.json'), readGoldenFile(name)]));
}

function readGoldenFile(name: string): GoldenFile {
  const { data, error } = file.safeParse(JSON.parse(readFileSync(join(FOLDER, name), 'utf8')));
  if (error !== undefined) throw new Error(`golden/${name}: ${z.prettifyError(error)}`);
  const width = Object.keys(data.source.columns).length;
  const rows = [
    ...data.events,
    ...data.questions.flatMap(({ event }) => (event === undefined ? [] : [event])),
  ];
  for (const row of rows) {
    if (row === COMPACTION || row.length === width) continue;
    throw new Error(`golden/${name}: ${JSON.stringify(row)} has ${row.length} values for ${width} columns`);
  }
  const expected = new Set(data.questions.flatMap(({ expect }) => Object.keys(expect)));
  for (const feature of Object.keys(data.view.features)) {
    if (!expected.has(feature)) throw new Error(`golden/${name}: no question expects a value of ${feature}`);
  }
  for (const { expect, empty, truncated, bounds, coarse } of data.questions) {
    const named = [
      ...Object.keys(expect),
      ...empty,
      ...truncated,
      ...Object.keys(bounds),
      ...Object.keys(coarse),
    ];
    for (const feature of named) {
      if (!Object.hasOwn(data.view.features, feature))
        throw new Error(`golden/${name}: no feature ${feature}`);
      if (!Object.hasOwn(expect, feature))
        throw new Error(`golden/${name}: ${feature} has a status but no value`);
      if (Object.hasOwn(coarse, feature) && !Object.hasOwn(bounds, feature))
        throw new Error(`golden/${name}: ${feature} has coarse bounds but no exact ones`);
    }
    if (Object.keys(coarse).length > 0 && data.view.resolution === undefined)
      throw new Error(`golden/${name}: a view without a resolution has no coarse values`);
  }
  return data;
}
