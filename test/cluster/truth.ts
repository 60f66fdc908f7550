import { compileRepo } from '../../engine/definitions/compile.ts';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { decodeEvent } from '../../engine/definitions/decode-event.ts';
import { positionEventId } from '../../engine/event-id.ts';
import { type OracleEvent, oracleValue } from '../../engine/testing/oracle.ts';
import { toJson } from '../../serve/json-value.ts';
import * as definitions from '../fixtures/roles/features.ts';
import type { TopicRecord } from '../topic-content.ts';

export interface TruthOptions {
  /** All exports of the feature repo. @default those of the fixture `roles` */
  readonly definitions?: Readonly<Record<string, unknown>>;
  /** The event in a record's value as JSON; undefined: there is none. @default what the text says */
  readonly parse?: (value: Buffer) => unknown;
}

/** What the topics say, for the oracle. */
export class Truth {
  readonly repo: CompiledRepo;
  readonly #parse: (value: Buffer) => unknown;
  /** Entity key → events, by source. */
  readonly #events = new Map<string, OracleEvent[]>();
  readonly ids = new Set<string>();
  /** `partition/offset` of payments that are no events. */
  readonly unusable: string[] = [];
  lastMs = 0;
  total = 0;

  constructor(options: TruthOptions = {}) {
    this.repo = compileRepo(Object.values(options.definitions ?? definitions));
    this.#parse = options.parse ?? parseJson;
  }

  add(name: string, records: readonly TopicRecord[]): void {
    const source = this.repo.sources.get(name)!;
    const decode = decodeEvent(source);
    const stamps = new Set<string>();
    for (const { partition, offset, value, headers } of records) {
      const event = decode(value === null ? undefined : this.#parse(value));
      if (!event.ok) {
        this.unusable.push(`${partition}/${offset}`);
        continue;
      }
      if (event.idText !== null) {
        if (this.ids.has(event.idText)) continue;
        this.ids.add(event.idText);
      }
      // The producer of pushed events may have written one twice.
      const stamp = headers['millrace-stamp'];
      if (stamp !== undefined && stamps.has(String(stamp))) continue;
      if (stamp !== undefined) stamps.add(String(stamp));
      this.total++;
      this.lastMs = Math.max(this.lastMs, event.eventTimeMs);
      const { row, eventTimeMs: timeMs } = event;
      const id = event.eventId ?? positionEventId(partition, offset);
      for (const column of ['card', 'shop']) {
        const key = row[column];
        if (typeof key === 'string') this.#of(name, column, key).push({ timeMs, id, row });
      }
    }
  }

  /** Features of a service as JSON. */
  features(service: string, key: string, atMs: number): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const { view, features } of this.repo.services.get(service)!.views) {
      const events = this.#of(view.source.name, view.definition.keyColumn, key);
      for (const feature of features) {
        const { column } = view.definition.features[feature.name]!;
        values[feature.name] = toJson(oracleValue({ view, feature, column, key, atMs, events }));
      }
    }
    return values;
  }

  #of(source: string, column: string, key: string): OracleEvent[] {
    const name = `${source}/${column}/${key}`;
    let events = this.#events.get(name);
    if (events === undefined) {
      events = [];
      this.#events.set(name, events);
    }
    return events;
  }
}

export function parseJson(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString());
  } catch {
    return undefined;
  }
}
