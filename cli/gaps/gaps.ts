/** `millrace gaps list` and `acknowledge`, at a running process that serves. */
import { CliError } from '../cli-error.ts';
import { describeReply, HttpClient, type HttpReply, NoReplyError, notListening } from '../http-client.ts';
import type { Config } from '../settings.ts';
import { textTable } from '../text-table.ts';

/** As `GET /v1/gaps` answers. */
interface ListedGap {
  readonly source: string;
  readonly partition: number;
  readonly from_offset: number;
  /** Exclusive. */
  readonly to_offset: number;
  readonly after: string | null;
  readonly until: string;
  readonly views: readonly string[];
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** @throws CliError where the server cannot be reached or refuses */
export async function gapsList(config: Config, { json }: { readonly json: boolean }): Promise<void> {
  const { gaps } = (await ask(config, (client) => client.get('/v1/gaps'))) as { gaps: ListedGap[] };
  if (json) return print(JSON.stringify({ gaps }, null, 2));
  if (gaps.length === 0)
    return print('No gaps: no window asks for records that were gone before they were applied.');
  const rows = gaps.map(({ source, partition, from_offset: from, to_offset: to, after, until, views }) => [
    `${source}/${partition}`,
    `${from} to ${to - 1}`,
    after ?? 'not known',
    until,
    views.join(', '),
  ]);
  print(textTable([['PARTITION', 'RECORDS', 'APPENDED AFTER', 'APPENDED BY', 'MAY BE MISSING IN'], ...rows]));
  print(
    '\nValues that may lack them are catching_up, until no window reaches back so far, or: millrace gaps acknowledge SOURCE',
  );
}

/** @throws CliError where there is no such source, or the server cannot be reached or refuses */
export async function gapsAcknowledge(config: Config, source: string): Promise<void> {
  const { acknowledged } = (await ask(config, (client) =>
    client.post('/v1/gaps/acknowledge', JSON.stringify({ source })),
  )) as { acknowledged: number };
  if (acknowledged === 0) return print(`Source ${source} had no gaps that a window asks for.`);
  print(
    `Acknowledged ${acknowledged === 1 ? '1 gap' : `${acknowledged} gaps`} of source ${source}: ` +
      'values no longer say that they may lack these records.',
  );
}

async function ask(config: Config, request: (client: HttpClient) => Promise<HttpReply>): Promise<unknown> {
  const client = new HttpClient(config.url, { connections: 1 });
  try {
    const reply = await request(client);
    if (reply.status !== 200) throw new CliError(describeReply(reply));
    return reply.body;
  } catch (error) {
    throw error instanceof NoReplyError ? notListening(config.url, error) : error;
  } finally {
    await client.close();
  }
}
