/** `millrace replay`: the events of a file, pushed to a running server. */
import { setTimeout as delay } from 'node:timers/promises';
import { CliError } from '../cli-error.ts';
import { describeReply, HttpClient, NoReplyError, notListening } from '../http-client.ts';
import { loadFeatureRepo } from '../load-features.ts';
import type { Config } from '../settings.ts';
import { EventSender, REJECTIONS_SHOWN } from './event-sender.ts';
import { type FileFormat, openInputFile } from './input-file.ts';
import { paced } from './pace.ts';
import { describeProgress, formatCount, formatDurationShort, progressDisplay } from './progress-display.ts';
import { type ReplayEvent, readEvents } from './read-events.ts';

export interface ReplayOptions {
  readonly file: string;
  readonly source: string;
  readonly format?: FileFormat;
  /** N times real time; Infinity: as fast as the server takes them. */
  readonly speed: number;
  /** Events per request. */
  readonly batch: number;
  /** Requests at a time. */
  readonly inFlight: number;
  /** Events outside [from, to) in event time are left out, ms. */
  readonly eventTimeFromMs: number;
  readonly eventTimeToMs: number;
  /** Rejected rows do not make the exit code 1. */
  readonly allowRejected: boolean;
}

const BATCH_BYTES = 1024 * 1024;
const RETRY_FOR_MS = 60_000;
const SHOW_EVERY_MS = 100;

/** Returns the exit code. */
export async function replay(config: Config, options: ReplayOptions): Promise<number> {
  const repo = await loadFeatureRepo(config.features);
  const source = repo.sources.get(options.source);
  if (source === undefined) {
    throw new CliError(
      `${config.features} has no source ${options.source}; its sources are ${[...repo.sources.keys()].join(', ')} (--features, --source)`,
    );
  }
  const file = await openInputFile(options.file, options.format);
  const client = new HttpClient(config.url, { connections: options.inFlight });
  const interrupt = new AbortController();
  const onSignal = (): void => {
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await checkServer(client, options.source);
    const sender = new EventSender({
      client,
      source: options.source,
      hasEventId: source.definition.eventId !== null,
      maxInFlight: options.inFlight,
      retryForMs: RETRY_FOR_MS,
      sleep: (durationMs) => delay(durationMs),
      nowMs: () => performance.now(),
    });
    const startedMs = performance.now();
    const display = progressDisplay(process.stderr);
    const show = (): void => {
      const { accepted, duplicates, rejected } = sender.totals;
      const elapsedMs = performance.now() - startedMs;
      const events = accepted + duplicates + rejected;
      const progress = { bytesRead: file.bytesRead(), bytesTotal: file.bytesTotal, events, elapsedMs };
      display.update({ ...describeProgress(progress), elapsedMs });
    };
    const timer = setInterval(show, SHOW_EVERY_MS);
    let skipped = 0;
    try {
      skipped = await sendAll(file, source, sender, options, interrupt.signal);
    } finally {
      clearInterval(timer);
      // After a failure others may still be on their way; the totals count them.
      await sender.settle();
      show();
      display.stop();
      printTotals(sender, skipped, performance.now() - startedMs);
    }
    if (interrupt.signal.aborted) {
      process.stdout.write('Interrupted: events after these were not sent.\n');
      return 130;
    }
    return sender.totals.rejected > 0 && !options.allowRejected ? 1 : 0;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await client.close();
  }
}

/** Before anything is read: is it there, and does it know the source? */
export async function checkServer(client: HttpClient, source: string): Promise<void> {
  try {
    const reply = await client.post(
      `/v1/sources/${encodeURIComponent(source)}/events?dry_run=true`,
      '{"events":[]}',
    );
    if (reply.status === 404)
      throw new CliError(`the server at ${client.url} refuses: ${describeReply(reply)}`);
  } catch (error) {
    throw error instanceof NoReplyError ? notListening(client.url, error) : error;
  }
}

/** Returns how many events the time bounds left out. */
async function sendAll(
  file: Parameters<typeof readEvents>[0],
  source: Parameters<typeof readEvents>[1],
  sender: EventSender,
  options: ReplayOptions,
  signal: AbortSignal,
): Promise<number> {
  let batch: ReplayEvent[] = [];
  let batchBytes = 0;
  let skipped = 0;
  const takeBatch = (): readonly ReplayEvent[] => {
    const full = batch;
    batch = [];
    batchBytes = 0;
    return full;
  };
  /** The wait of the pace must not hold back what is there already. */
  let early: Promise<void> = Promise.resolve();
  const sendNow = (): void => {
    if (batch.length === 0) return;
    const full = takeBatch();
    early = early.then(() => sender.send(full));
    // Its failure is thrown where it is awaited.
    early.catch(() => {});
  };
  const items = paced(
    within(readEvents(file, source), options, () => skipped++),
    {
      speed: options.speed,
      nowMs: () => performance.now(),
      sleep: (durationMs) => delay(durationMs, undefined, { signal }).catch(() => {}),
      beforeWait: sendNow,
      stopped: () => signal.aborted,
    },
  );
  for await (const item of items) {
    if (signal.aborted) break;
    await early;
    if (!item.ok) {
      sender.reject(item);
      continue;
    }
    batch.push(item);
    batchBytes += item.json.length;
    if (batch.length >= options.batch || batchBytes >= BATCH_BYTES) await sender.send(takeBatch());
  }
  await early;
  if (batch.length > 0 && !signal.aborted) await sender.send(takeBatch());
  await sender.finish();
  return skipped;
}

async function* within(
  items: ReturnType<typeof readEvents>,
  { eventTimeFromMs, eventTimeToMs }: ReplayOptions,
  skip: () => void,
): ReturnType<typeof readEvents> {
  for await (const item of items) {
    if (item.ok && (item.eventTimeMs < eventTimeFromMs || item.eventTimeMs >= eventTimeToMs)) skip();
    else yield item;
  }
}

function printTotals(sender: EventSender, skipped: number, elapsedMs: number): void {
  const { accepted, duplicates, rejected, rejections } = sender.totals;
  const events = accepted + duplicates + rejected;
  const rate = formatCount(elapsedMs === 0 ? 0 : (events / elapsedMs) * 1000);
  const lines = [
    `accepted ${formatCount(accepted)}, duplicates ${formatCount(duplicates)}, rejected ${formatCount(rejected)}` +
      `${skipped === 0 ? '' : `, outside the time bounds ${formatCount(skipped)}`}` +
      ` in ${formatDurationShort(elapsedMs)} (${rate}/s)`,
  ];
  if (rejections.length > 0) {
    lines.push(
      rejected > REJECTIONS_SHOWN ? `the first ${REJECTIONS_SHOWN} rejected rows:` : 'rejected rows:',
    );
    const sorted = [...rejections].sort((a, b) => a.line - b.line);
    for (const { line, code, message } of sorted) lines.push(`  line ${line}: ${code}: ${message}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
