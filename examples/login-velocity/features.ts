/** Login velocity: how fast an address fails to log in, and how widely it or a user is tried. */
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
} from 'millrace';

const owner = 'account-security';

export const sshLogins = streamSource({
  name: 'ssh_logins',
  columns: {
    raw_line_no: integer(),
    ts: timestamp(),
    host: string(),
    pid: integer(),
    ip: string(),
    port: integer({ nullable: true }),
    user: string(),
    outcome: string(),
    valid_user: integer({ nullable: true }),
    n: integer(),
  },
  eventTime: 'ts',
  eventId: 'raw_line_no',
  description: 'Lines of an SSH server log that name a client; n is how often the line happened.',
  owner,
  tags: ['ssh'],
});

export const ip = entity('ip', { description: 'The address a client comes from.', owner, tags: ['ssh'] });
export const user = entity('user', {
  description: 'The user name a client tries; may be empty.',
  owner,
  tags: ['ssh'],
});

export const failedLoginsByIp = featureView({
  name: 'failed_logins_by_ip',
  source: sshLogins,
  entity: ip,
  filter: (event) => event.outcome === 'failed',
  features: {
    failed_rows_60s: count().over('60s', { description: 'Log lines of failed passwords in 60 s.' }),
    failed_rows_5m: count().over('5m', { description: 'Log lines of failed passwords in 5 min.' }),
    failed_rows_1h: count().over('1h', { description: 'Log lines of failed passwords in 1 h.' }),
    failed_attempts_60s: sum('n').over('60s', {
      description: 'Failed passwords in 60 s, repetitions counted.',
    }),
    failed_attempts_5m: sum('n').over('5m', {
      description: 'Failed passwords in 5 min, repetitions counted.',
    }),
    failed_attempts_1h: sum('n').over('1h', { description: 'Failed passwords in 1 h, repetitions counted.' }),
    distinct_users_5m: distinctCount('user').over('5m', {
      description: 'Different user names with a failed password in 5 min; exact up to 1024.',
    }),
  },
  asOfRetention: '1d',
  description: 'Failed passwords per client address.',
  owner,
  tags: ['ssh', 'velocity'],
});

export const failedLoginsByUser = featureView({
  name: 'failed_logins_by_user',
  source: sshLogins,
  entity: user,
  filter: (event) => event.outcome === 'failed',
  features: {
    distinct_ips_for_user_1h: distinctCount('ip').over('1h', {
      description: 'Different addresses that failed to log in as this user in 1 h; exact up to 1024.',
    }),
  },
  asOfRetention: '1d',
  description: 'Failed passwords per user name.',
  owner,
  tags: ['ssh', 'velocity'],
});

export const loginRisk = featureService({
  name: 'login_risk',
  features: [failedLoginsByIp, failedLoginsByUser],
  description: 'Password guessing against a user and from an address.',
  owner,
  tags: ['ssh', 'model-input'],
});
