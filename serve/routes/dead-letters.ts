/** `/v1/sources/{source}/dead-letters`: what the embedded engine could not use. Other processes have no such routes. */
import type { FastifyInstance } from 'fastify';
import { DEAD_LETTER_REASONS, type DeadLetterReason } from '../../ingest/dead-letter.ts';
import type { DeadLetterBox, LetterFilter, LetterSummary } from '../../ingest/dead-letter-box.ts';
import type { LetterOrigin } from '../../ingest/letter-shelf.ts';
import { LogFullError } from '../../ingest/log/log-errors.ts';
import type { RouteContext } from '../app.ts';
import { fieldsOf } from '../body-fields.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import { plainSchema } from '../openapi.ts';

const LIST_LIMIT = { default: 100, max: 10_000 };
const REPLAY_LIMIT = { default: 1_000, max: 10_000 };
/** As many as fit into a URL. */
const ORIGINS_MAX = 500;

export function registerDeadLetters(routes: FastifyInstance, { deadLetters, wallClock }: RouteContext): void {
  if (deadLetters === undefined) return;
  const boxOf = (source: string): DeadLetterBox => {
    const box = deadLetters(source);
    if (box === undefined) throw new ApiError('unknown_source', `there is no source ${quoteName(source)}`);
    return box;
  };

  routes.get<{ Params: { source: string } }>(
    '/v1/sources/:source/dead-letters',
    {
      schema: plainSchema(
        'Events that could not be used and were neither replayed nor discarded: reason, view, since, origins, limit.',
      ),
    },
    async (request) => {
      const box = boxOf(request.params.source);
      const values = known(request.query as object, ['reason', 'view', 'since', 'origins', 'limit']);
      const limit = integerOf(values, 'limit', { min: 0, ...LIST_LIMIT });
      const letters = await box.list(filterOf(values));
      const counts: Record<string, number> = {};
      for (const { reason } of letters) counts[reason] = (counts[reason] ?? 0) + 1;
      return { letters: letters.slice(0, limit).map(summaryOf), total: letters.length, counts };
    },
  );

  routes.get<{ Params: { source: string; partition: string; offset: string } }>(
    '/v1/sources/:source/dead-letters/:partition/:offset',
    { schema: plainSchema('One of them; with `value=true` also the record, in base64.') },
    async (request) => {
      const { source, partition, offset } = request.params;
      const values = known(request.query as object, ['value']);
      const isNumber = [partition, offset].every((text) => /^\d{1,15}$/.test(text));
      const origin = { partition: Number(partition), offset: Number(offset) };
      const letters = isNumber ? await boxOf(source).show(origin) : [];
      if (letters.length === 0) throw new ApiError('unknown_dead_letter', 'there is no dead letter of it');
      return {
        letters: letters.map(({ value, state, thrown, stamp, ...letter }) => ({
          ...summaryOf({ ...letter, valueBytes: value === null ? null : value.length }),
          ...{ state, thrown: thrown ?? null, stamp },
          ...(values.value === 'true'
            ? { value: value === null ? null : Buffer.from(value).toString('base64') }
            : {}),
        })),
      };
    },
  );

  routes.post<{ Params: { source: string } }>(
    '/v1/sources/:source/dead-letters/replay',
    {
      schema: plainSchema(
        'Appends them again: reason, view, since, before, origins, limit; `now` is for `before` of the next.',
      ),
    },
    async (request) => {
      const box = boxOf(request.params.source);
      const names = ['reason', 'view', 'since', 'before', 'origins', 'limit'];
      const fields = fieldsOf(request.body, names, 'the body');
      const values = Object.fromEntries(names.map((name) => [name, fields.get(name)]));
      const nowMs = wallClock.nowMs();
      const filter = filterOf(values);
      const limit = integerOf(values, 'limit', { min: 0, ...REPLAY_LIMIT });
      // What is a letter again is not replayed again by the same call.
      try {
        return { ...(await box.replay({ beforeMs: nowMs + 1, ...filter }, { limit })), now: nowMs };
      } catch (error) {
        const code = error instanceof LogFullError ? 'log_full' : 'log_unavailable';
        throw new ApiError(
          code,
          'not all of them could be recorded; replay them again',
          {},
          { cause: error },
        );
      }
    },
  );

  routes.post<{ Params: { source: string } }>(
    '/v1/sources/:source/dead-letters/discard',
    {
      schema: plainSchema(
        'Lists and replays those of these origins no longer; they are kept as long as others.',
      ),
    },
    async (request) => {
      const box = boxOf(request.params.source);
      const origins = originsOf(fieldsOf(request.body, ['origins'], 'the body').get('origins'));
      try {
        return { discarded: await box.discard(origins) };
      } catch (error) {
        const code = error instanceof LogFullError ? 'log_full' : 'log_unavailable';
        throw new ApiError(code, 'that could not be recorded; discard them again', {}, { cause: error });
      }
    },
  );
}

/** As it is shown: without what the record holds. `appended` is null where the log does not say when that was. */
function summaryOf(letter: LetterSummary) {
  const { source, partition, offset, reason, view, message, omitted, appendedMs, writtenMs } = letter;
  return {
    ...{ source, partition, offset, reason, view, message, omitted },
    appended: appendedMs > 0 ? new Date(appendedMs).toISOString() : null,
    written: new Date(writtenMs).toISOString(),
    value_bytes: letter.valueBytes,
  };
}

type Values = Readonly<Record<string, unknown>>;

function known(query: object, names: readonly string[]): Values {
  for (const name of Object.keys(query)) {
    if (names.includes(name)) continue;
    throw new ApiError('unknown_parameter', `there is no query parameter ${quoteName(name)}`, {
      expected: names,
    });
  }
  return query as Values;
}

function invalid(parameter: string, expected: string): ApiError {
  return new ApiError('invalid_parameter', `'${parameter}' must be ${expected}`, { parameter });
}

function filterOf(values: Values): LetterFilter {
  const { reason, view } = values;
  const reasons: readonly unknown[] = DEAD_LETTER_REASONS.map(({ reason }) => reason);
  if (reason !== undefined && !reasons.includes(reason)) throw invalid('reason', reasons.join(' or '));
  if (view !== undefined && typeof view !== 'string') throw invalid('view', 'the name of a view');
  const time = { min: 0, max: Number.MAX_SAFE_INTEGER };
  const sinceMs =
    values.since === undefined ? undefined : integerOf(values, 'since', { ...time, default: 0 });
  const beforeMs =
    values.before === undefined ? undefined : integerOf(values, 'before', { ...time, default: 0 });
  const origins = values.origins === undefined ? undefined : originsOf(values.origins);
  return {
    ...(origins === undefined ? {} : { origins }),
    ...(reason === undefined ? {} : { reason: reason as DeadLetterReason }),
    ...(view === undefined ? {} : { view }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(beforeMs === undefined ? {} : { beforeMs }),
  };
}

/** PARTITION/OFFSET, in an array or separated by commas; each once. */
function originsOf(value: unknown): LetterOrigin[] {
  const texts: readonly unknown[] =
    typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value : [];
  const origins = [...new Set(texts)].map((text) => {
    const match = typeof text === 'string' ? /^(\d{1,4})\/(\d{1,15})$/.exec(text) : null;
    if (match === null) throw invalidOrigins();
    return { partition: Number(match[1]), offset: Number(match[2]) };
  });
  if (origins.length === 0 || origins.length > ORIGINS_MAX) throw invalidOrigins();
  return origins;
}

const invalidOrigins = (): ApiError => invalid('origins', `1 to ${ORIGINS_MAX} texts PARTITION/OFFSET`);

function integerOf(
  values: Values,
  name: string,
  limits: { min: number; max: number; default: number },
): number {
  const value = values[name];
  if (value === undefined) return limits.default;
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (
    typeof number === 'number' &&
    Number.isSafeInteger(number) &&
    number >= limits.min &&
    number <= limits.max
  ) {
    return number;
  }
  throw invalid(name, `a whole number from ${limits.min} to ${limits.max}`);
}
