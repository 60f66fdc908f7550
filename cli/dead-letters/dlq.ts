/** `millrace dlq list`, `show`, `replay` and `discard`. */
import { type LetterFilter, UNREPLAYABLE } from '../../ingest/dead-letter-box.ts';
import type { LetterOrigin } from '../../ingest/letter-shelf.ts';
import { CliError } from '../cli-error.ts';
import { kafkaSettings } from '../kafka-settings.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { describeProgress, progressDisplay } from '../replay/progress-display.ts';
import { explain } from '../run-roles.ts';
import type { Config } from '../settings.ts';
import { textTable } from '../text-table.ts';
import type { NamedOrigin } from './dlq-command.ts';
import { HttpLetterDesk } from './http-letter-desk.ts';
import { KafkaLetterDesk } from './kafka-letter-desk.ts';
import type { LetterDesk, ShownLetter } from './letter-desk.ts';

interface Chosen {
  /** null: every source. */
  readonly source: string | null;
  readonly filter: LetterFilter;
}

interface NamedOrigins {
  readonly origins: readonly NamedOrigin[];
}

/** Of the API. */
const LIST_LIMIT_MAX = 10_000;

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

export async function dlqList(
  config: Config,
  { source, filter, limit, json }: Chosen & { readonly limit: number; readonly json: boolean },
): Promise<void> {
  await atDesk(config, async (desk) => {
    const listed = [];
    for (const name of await sourcesOf(desk, source)) {
      listed.push({ source: name, ...(await desk.list(name, filter, limit)) });
    }
    const total = listed.reduce((sum, one) => sum + one.total, 0);
    if (total === 0) await refuseUnknownView(desk, filter);
    if (json) return print(JSON.stringify({ sources: listed }, null, 2));
    const letters = listed.flatMap((one) => one.letters);
    if (letters.length === 0) return print('No dead letters.');
    const rows = letters.map((letter) => [
      `${letter.source}/${letter.partition}/${letter.offset}`,
      letter.reason,
      letter.view ?? 'all',
      new Date(letter.writtenMs).toISOString(),
      printable(letter.message),
    ]);
    print(textTable([['ORIGIN', 'REASON', 'VIEW', 'WRITTEN', 'WHAT IS WRONG'], ...rows]));
    const counts = listed.flatMap((one) =>
      Object.entries(one.counts).map(([reason, n]) => [one.source, reason, String(n)]),
    );
    print(`\n${textTable([['SOURCE', 'REASON', 'LETTERS'], ...counts])}`);
    if (total > letters.length) print(`\n${letters.length} of ${total} are shown: --limit`);
  });
}

export async function dlqShow(
  config: Config,
  { origin, value, json }: { readonly origin: NamedOrigin; readonly value: boolean; readonly json: boolean },
): Promise<void> {
  await atDesk(config, async (desk) => {
    const letters = await desk.show(origin.source, origin, value);
    const name = `${origin.source}/${origin.partition}/${origin.offset}`;
    if (letters.length === 0) throw new CliError(`there is no dead letter of ${name}`);
    if (json) {
      const shown = letters.map((letter) => ({
        ...letter,
        value: letter.value === null ? undefined : Buffer.from(letter.value).toString('base64'),
      }));
      return print(JSON.stringify({ letters: shown }, null, 2));
    }
    print(letters.map((letter) => describe(name, letter)).join('\n\n'));
    const record = letters.at(-1)!.value;
    if (value)
      print(`\n${record === null ? 'The record has no value.' : printable(Buffer.from(record).toString())}`);
  });
}

/** Resolves with the exit code: 1 where some could not be replayed. */
export async function dlqReplay(
  config: Config,
  { source, filter, origins, dryRun }: Chosen & NamedOrigins & { readonly dryRun: boolean },
): Promise<number> {
  return atDesk(config, async (desk) => {
    const chosen =
      origins.length === 0
        ? (await sourcesOf(desk, source)).map((name) => ({ name, filter }))
        : (await openOrigins(desk, origins)).map(({ name, origins }) => {
            return { name, filter: { ...filter, origins } };
          });
    let total = 0;
    for (const { name, filter } of chosen) total += (await desk.list(name, filter, 0)).total;
    if (total === 0) await refuseUnknownView(desk, filter);
    if (dryRun) {
      print(`${total === 1 ? '1 dead letter' : `${total} dead letters`} would be replayed.`);
      return 0;
    }
    if (total === 0) {
      print('There is nothing to replay.');
      return 0;
    }
    const startedMs = performance.now();
    const display = progressDisplay(process.stderr);
    let done = 0;
    let replayed = 0;
    const failed: string[] = [];
    try {
      for (const { name, filter } of chosen) {
        const result = await desk.replay(name, filter, (records) => {
          done += records;
          const elapsedMs = performance.now() - startedMs;
          const progress = { bytesRead: done, bytesTotal: Math.max(done, total), events: done, elapsedMs };
          display.update({ ...describeProgress(progress), elapsedMs });
        });
        replayed += result.replayed;
        for (const { partition, offset, why } of result.unreplayable) {
          failed.push(`  ${name}/${partition}/${offset}: ${UNREPLAYABLE[why]}`);
        }
      }
    } finally {
      display.stop();
    }
    print(
      replayed === 1
        ? '1 record was appended again; if it still cannot be used, it becomes a dead letter again.'
        : `${replayed} records were appended again; those that still cannot be used become dead letters again.`,
    );
    if (failed.length === 0) return 0;
    print(`${failed.length} could not be replayed:\n${failed.slice(0, 100).join('\n')}`);
    print('`millrace dlq discard` takes those off the list that nobody will be able to use.');
    return 1;
  });
}

export async function dlqDiscard(config: Config, { origins }: NamedOrigins): Promise<void> {
  await atDesk(config, async (desk) => {
    let discarded = 0;
    for (const { name, origins: of } of await openOrigins(desk, origins)) {
      discarded += await desk.discard(name, of);
    }
    print(
      `Discarded the dead letters of ${discarded === 1 ? '1 record' : `${discarded} records`}: they are listed and replayed no ` +
        'longer. `millrace dlq show` has them for as long as letters are kept.',
    );
  });
}

/** By source, each once. @throws CliError where one of them has no letter that is open */
async function openOrigins(
  desk: LetterDesk,
  named: readonly NamedOrigin[],
): Promise<{ readonly name: string; readonly origins: readonly LetterOrigin[] }[]> {
  const bySource = new Map<string, Map<string, LetterOrigin>>();
  for (const { source, partition, offset } of named) {
    const ofSource = bySource.get(source) ?? new Map<string, LetterOrigin>();
    bySource.set(source, ofSource.set(`${source}/${partition}/${offset}`, { partition, offset }));
  }
  const chosen: { name: string; origins: LetterOrigin[] }[] = [];
  const missing: string[] = [];
  for (const [name, ofSource] of bySource) {
    await sourcesOf(desk, name);
    const origins = [...ofSource.values()];
    const { letters } = await desk.list(name, { origins }, LIST_LIMIT_MAX);
    const open = new Set(letters.map(({ partition, offset }) => `${name}/${partition}/${offset}`));
    missing.push(...[...ofSource.keys()].filter((text) => !open.has(text)));
    chosen.push({ name, origins });
  }
  if (missing.length === 0) return chosen;
  throw new CliError(
    `nothing was done: there is no open dead letter of ${missing.join(', ')} (\`millrace dlq list\` has those that are open, ` +
      '`millrace dlq show` says what became of one)',
  );
}

async function atDesk<T>(config: Config, work: (desk: LetterDesk) => Promise<T>): Promise<T> {
  let desk: LetterDesk | null = null;
  try {
    desk = await openDesk(config);
    return await work(desk);
  } catch (error) {
    throw explain(error) ?? error;
  } finally {
    await desk?.close();
  }
}

async function openDesk(config: Config): Promise<LetterDesk> {
  if (config.kafka === null) return new HttpLetterDesk(config.url);
  const repo = await loadFeatureRepo(config.features);
  return KafkaLetterDesk.open(repo, kafkaSettings(config), { group: config.group });
}

async function sourcesOf(desk: LetterDesk, source: string | null): Promise<readonly string[]> {
  const sources = await desk.sources();
  if (source === null) return sources;
  if (!sources.includes(source)) {
    throw new CliError(`there is no source ${source}; sources are ${sources.join(', ') || 'none'}`);
  }
  return [source];
}

/** Where there are no letters: those of a view that is gone from the definitions can be had by its name. */
async function refuseUnknownView(desk: LetterDesk, { view }: LetterFilter): Promise<void> {
  if (view === undefined) return;
  const views = await desk.views();
  if (views.includes(view)) return;
  throw new CliError(`there is no view ${view}; views are ${views.join(', ') || 'none'}`);
}

function describe(name: string, letter: ShownLetter): string {
  const { state, reason, view, message, thrown, appendedMs, writtenMs, valueBytes, omitted } = letter;
  return textTable([
    ['origin', name],
    ['state', state],
    ['reason', reason],
    ['view', view ?? 'all'],
    ['what is wrong', printable(message)],
    ...(thrown === undefined ? [] : [['it threw', printable(thrown)]]),
    ['appended', appendedMs === 0 ? 'not known' : new Date(appendedMs).toISOString()],
    ['written', new Date(writtenMs).toISOString()],
    ['value', valueBytes === null ? 'none' : `${valueBytes} bytes`],
    ['left out', omitted.join(', ') || 'nothing'],
  ]);
}

/** Harmless to a terminal. */
const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, '·');
