/**
 * Password guessing in three SSH logs. Nobody published feature values for them: each is counted here straight
 * from the file, with the ties rule of the data's README (an event sees itself and what stands before it).
 */
import { describe, expect, test } from 'vitest';
import * as loginVelocity from '../examples/login-velocity/features.ts';
import {
  count,
  distinctCount,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import { lockstep } from './lockstep.ts';
import { csvRows, dataPresent } from './published-data.ts';

interface Line {
  readonly lineNo: number;
  readonly timeMs: number;
  readonly ip: string;
  readonly user: string;
  readonly n: number;
}

async function linesOf(file: string, outcome: string): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const row of csvRows(file)) {
    if (row.outcome !== outcome) continue;
    lines.push({
      lineNo: Number(row.raw_line_no),
      timeMs: Date.parse(row.ts!),
      ip: row.ip!,
      user: row.user!,
      n: Number(row.n),
    });
  }
  return lines;
}

/** What `login_risk` is to answer for a line, given it and those before it. */
function countedBy(line: Line, before: readonly Line[]): Record<string, number> {
  const within = (seconds: number): Line[] =>
    before.filter((other) => other.timeMs > line.timeMs - seconds * 1000);
  const ofIp = (seconds: number): Line[] => within(seconds).filter(({ ip }) => ip === line.ip);
  const attempts = (lines: readonly Line[]): number => lines.reduce((total, { n }) => total + n, 0);
  return {
    failed_rows_60s: ofIp(60).length,
    failed_rows_5m: ofIp(300).length,
    failed_rows_1h: ofIp(3600).length,
    failed_attempts_60s: attempts(ofIp(60)),
    failed_attempts_5m: attempts(ofIp(300)),
    failed_attempts_1h: attempts(ofIp(3600)),
    distinct_users_5m: new Set(ofIp(300).map(({ user }) => user)).size,
    distinct_ips_for_user_1h: new Set(
      within(3600)
        .filter(({ user }) => user === line.user)
        .map(({ ip }) => ip),
    ).size,
  };
}

/** The features of login_risk over another outcome: a log of probes has no failed passwords. */
function probeVelocity(): Readonly<Record<string, unknown>> {
  const sshLogins = streamSource({
    name: 'ssh_logins',
    columns: {
      raw_line_no: integer(),
      ts: timestamp(),
      ip: string(),
      user: string(),
      outcome: string(),
      n: integer(),
    },
    eventTime: 'ts',
    eventId: 'raw_line_no',
  });
  const filter = (event: { outcome: string }): boolean => event.outcome === 'invalid_user';
  const byIp = featureView({
    name: 'by_ip',
    source: sshLogins,
    entity: entity('ip'),
    filter,
    features: {
      failed_rows_60s: count().over('60s'),
      failed_rows_5m: count().over('5m'),
      failed_rows_1h: count().over('1h'),
      failed_attempts_60s: sum('n').over('60s'),
      failed_attempts_5m: sum('n').over('5m'),
      failed_attempts_1h: sum('n').over('1h'),
      distinct_users_5m: distinctCount('user').over('5m'),
    },
  });
  const byUser = featureView({
    name: 'by_user',
    source: sshLogins,
    entity: entity('user'),
    filter,
    features: { distinct_ips_for_user_1h: distinctCount('ip').over('1h') },
  });
  return { loginRisk: featureService({ name: 'login_risk', features: [byIp, byUser] }) };
}

describe.each([
  { file: 'ssh_logins.csv.gz', outcome: 'failed', definitions: loginVelocity, lines: 520 },
  { file: 'ssh_logins_ec2.csv.gz', outcome: 'failed', definitions: loginVelocity, lines: 713 },
  { file: 'ssh_probes_ec2.csv.gz', outcome: 'invalid_user', definitions: probeVelocity(), lines: 1_489 },
])('$file', ({ file, outcome, definitions, lines }) => {
  test.skipIf(!dataPresent(file))(`every ${outcome} line is equal`, async () => {
    const all = await linesOf(file, outcome);
    expect(all.length).toBe(lines);
    const indexes = new Map(all.map(({ lineNo }, i) => [lineNo, i]));
    let compared = 0;
    const { events, compacted } = await lockstep({
      definitions: definitions as Readonly<Record<string, unknown>>,
      source: 'ssh_logins',
      file,
      shape: { leafBytesMax: 200, tailRowsMax: 4 },
      foldAfterMs: 30_000,
      questions: ({ raw_line_no, ip, user }) =>
        indexes.has(Number(raw_line_no)) ? [{ service: 'login_risk', entities: { ip, user } }] : [],
      answer: ({ raw_line_no }, _question, features) => {
        const index = indexes.get(Number(raw_line_no))!;
        expect(features, `line ${raw_line_no}`).toEqual(countedBy(all[index]!, all.slice(0, index + 1)));
        compared++;
      },
    });
    console.log(
      `${file}: ${compared} lines equal, ${events} events, ${compacted} states compacted meanwhile`,
    );
    expect(compared).toBe(lines);
  });
});
