import { existsSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { constants, gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { decodeCsvRecord, missingCsvColumns } from '../engine/definitions/decode-csv.ts';
import type { Feature } from '../engine/definitions/types.ts';
import * as cardFraud from './card-fraud/features.ts';
import * as customerProfile from './customer-profile/features.ts';
import * as loginVelocity from './login-velocity/features.ts';
import * as retail from './retail/features.ts';

const dataFile = (name: string): string =>
  fileURLToPath(new URL(`../../shared/data/${name}.csv.gz`, import.meta.url));

/** The first lines of a gzipped file, without reading it all. */
function firstLines(name: string, count: number): string[][] {
  const bytes = Buffer.alloc(65_536);
  const length = readSync(openSync(dataFile(name), 'r'), bytes);
  const text = gunzipSync(bytes.subarray(0, length), { finishFlush: constants.Z_SYNC_FLUSH }).toString(
    'utf8',
  );
  return text
    .split('\n')
    .slice(0, count)
    .map((line) => line.split(','));
}

const repos = {
  cardFraud: compileRepo(Object.values(cardFraud)),
  loginVelocity: compileRepo(Object.values(loginVelocity)),
  retail: compileRepo(Object.values(retail)),
};
const namesOf = (repo: keyof typeof repos, service: string): string[] =>
  repos[repo].services.get(service)!.output.map(({ name }) => name);

describe('the example feature repos', () => {
  it('serve login_risk with the names of the issue', () => {
    expect(namesOf('loginVelocity', 'login_risk')).toEqual([
      'failed_rows_60s',
      'failed_rows_5m',
      'failed_rows_1h',
      'failed_attempts_60s',
      'failed_attempts_5m',
      'failed_attempts_1h',
      'distinct_users_5m',
      'distinct_ips_for_user_1h',
    ]);
    expect(repos.loginVelocity.services.get('login_risk')!.entities.map(({ name }) => name)).toEqual([
      'ip',
      'user',
    ]);
  });

  it('ask for request data only in card_decision', () => {
    const services = repos.cardFraud.services;
    expect(Object.keys(services.get('card_fraud')!.request)).toEqual([]);
    expect(Object.keys(services.get('card_decision')!.request)).toEqual(['tx_amount']);
    expect(services.get('card_decision')!.entities.map(({ name }) => name)).toEqual([
      'customer_id',
      'terminal_id',
    ]);
  });

  it('describe everything, with an owner and tags', () => {
    for (const module of [cardFraud, customerProfile, loginVelocity, retail]) {
      for (const definition of Object.values(module)) {
        expect(definition.description, definition.name).toMatch(/\.$/);
        expect(definition.owner, definition.name).toBeTruthy();
        expect(definition.tags?.length, definition.name).toBeGreaterThan(0);
        if (definition.kind !== 'feature_view') continue;
        for (const [name, feature] of Object.entries<Feature>(definition.features)) {
          expect(feature.description, name).toMatch(/\.$/);
        }
      }
    }
  });
});

describe('on-demand features of card-fraud', () => {
  const at = (iso: string): number => Date.parse(iso);
  const time = (feature: typeof cardFraud.txDuringNight | typeof cardFraud.txDuringWeekend, iso: string) =>
    feature.compute({ features: {}, request: {}, atMs: at(iso) });

  it('take Saturday and Sunday for the weekend, to the second', () => {
    expect(time(cardFraud.txDuringWeekend, '2018-04-06T23:59:59Z')).toBe(0);
    expect(time(cardFraud.txDuringWeekend, '2018-04-07T00:00:00Z')).toBe(1);
    expect(time(cardFraud.txDuringWeekend, '2018-04-08T23:59:59Z')).toBe(1);
    expect(time(cardFraud.txDuringWeekend, '2018-04-09T00:00:00Z')).toBe(0);
  });

  it('take 00:00:00 to 06:59:59 for the night', () => {
    expect(time(cardFraud.txDuringNight, '2018-04-06T00:00:00Z')).toBe(1);
    expect(time(cardFraud.txDuringNight, '2018-04-06T06:59:59Z')).toBe(1);
    expect(time(cardFraud.txDuringNight, '2018-04-06T07:00:00Z')).toBe(0);
    expect(time(cardFraud.txDuringNight, '2018-04-06T23:59:59Z')).toBe(0);
  });

  it('answer 0 for the risk of a terminal without payments, otherwise the share of frauds', () => {
    const risk = (frauds: number | bigint, payments: number) =>
      cardFraud.terminalRisk7d.compute({ features: { frauds, payments }, request: {}, atMs: 0 });
    expect(risk(0, 0)).toBe(0);
    expect(risk(1, 4)).toBe(0.25);
    expect(risk(3n, 4)).toBe(0.75);
  });

  it('answer null where an amount cannot be compared', () => {
    const z = (mean: number | null, stddev: number | null) =>
      cardFraud.amountZScore.compute({ features: { mean, stddev }, request: { tx_amount: 50 }, atMs: 0 });
    expect(z(30, 10)).toBe(2);
    expect([z(null, null), z(30, null), z(30, 0)]).toEqual([null, null, null]);
    const ratio = (mean: number | null) =>
      cardFraud.amountToMean.compute({ features: { mean }, request: { tx_amount: 50 }, atMs: 0 });
    expect([ratio(25), ratio(null), ratio(0)]).toEqual([2, null, null]);
    const since = (lastAt: number | null) =>
      cardFraud.secondsSinceLastTx.compute({ features: { lastAt }, request: {}, atMs: 5500 });
    expect([since(1000), since(null)]).toEqual([4.5, null]);
  });
});

const withData = it.skipIf(!existsSync(dataFile('card_transactions')));

describe('against ../shared/data', () => {
  withData('card_fraud has the published names in the published order', () => {
    const [header] = firstLines('card_features_expected', 1);
    expect(namesOf('cardFraud', 'card_fraud')).toEqual(header!.slice(1));
  });

  withData('the retail services have the published names', () => {
    const [header] = firstLines('retail_features_expected', 1);
    const published = header!.filter((name) => /^(CUST|SKU)_/.test(name));
    expect([...namesOf('retail', 'retail_customer'), ...namesOf('retail', 'retail_product')]).toEqual(
      published,
    );
  });

  withData('sources decode their CSV files, with exactly their columns', () => {
    for (const [repo, source, file] of [
      ['cardFraud', 'card_transactions', 'card_transactions'],
      ['loginVelocity', 'ssh_logins', 'ssh_logins'],
      ['loginVelocity', 'ssh_logins', 'ssh_logins_ec2'],
      ['loginVelocity', 'ssh_logins', 'ssh_probes_ec2'],
      ['retail', 'retail_lines', 'retail_lines'],
    ] as const) {
      const compiled = repos[repo].sources.get(source)!;
      const [header, ...records] = firstLines(file, 200);
      expect(header).toEqual(Object.keys(compiled.definition.columns));
      expect(missingCsvColumns(compiled.definition, header!)).toEqual([]);
      const decode = decodeCsvRecord(compiled, header!, { checkKeys: true });
      for (const record of records)
        expect(decode(record), `${file}: ${record.join()}`).toMatchObject({ ok: true });
    }
  });
});
