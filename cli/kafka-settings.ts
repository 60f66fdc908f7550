/** The settings of Kafka as its client takes them. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { KafkaSettings } from '../ingest/log/kafka/kafka-client.ts';
import { CliError } from './cli-error.ts';
import type { Config } from './settings.ts';

/** @throws CliError where settings are missing, contradict each other, or a file cannot be read */
export function kafkaSettings(config: Config): KafkaSettings {
  const problems: string[] = [];
  const settings = kafkaSettingsOf(config, problems);
  refuseAll(problems);
  return settings;
}

/** As `kafkaSettings`, but problems are added to a list; where there are any, the answer is of no use. */
export function kafkaSettingsOf(config: Config, problems: string[]): KafkaSettings {
  const { kafka, kafkaSasl, kafkaUsername, kafkaPassword } = config;
  if (kafka === null) problems.push('kafka: the brokers are missing (--kafka HOST:PORT)');
  const sasl = [kafkaSasl, kafkaUsername, kafkaPassword];
  if (sasl.some((part) => part === null) && sasl.some((part) => part !== null)) {
    problems.push('kafkaSasl, kafkaUsername and kafkaPassword go together');
  }
  const tls = tlsFiles(config, 'kafka', problems);
  return {
    brokers: (kafka ?? '').split(',').map((item) => item.trim()),
    clientId: `millrace@${hostname()}`,
    ...(config.kafkaTls === false || (config.kafkaTls === null && tls === null)
      ? {}
      : { ssl: tls ?? (true as const) }),
    ...(kafkaSasl === null
      ? {}
      : { sasl: { mechanism: kafkaSasl, username: kafkaUsername!, password: kafkaPassword! } }),
  };
}

export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** null: none is configured. Problems are added to the list. */
export function tlsFiles(config: Config, name: 'kafka' | 'redis', problems: string[]): TlsFiles | null {
  const pem = (key: keyof Config): string | undefined => {
    const path = config[key];
    if (typeof path !== 'string') return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      problems.push(`${key}: ${path} cannot be read: ${(error as Error).message}`);
      return undefined;
    }
  };
  if (config[`${name}Cert`] !== null && config[`${name}Key`] === null) {
    problems.push(`${name}Cert needs ${name}Key`);
  }
  if (config[`${name}Key`] !== null && config[`${name}Cert`] === null) {
    problems.push(`${name}Key needs ${name}Cert`);
  }
  const [ca, cert, key] = [pem(`${name}Ca`), pem(`${name}Cert`), pem(`${name}Key`)];
  if (ca === undefined && cert === undefined) return null;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  };
}

/** @throws CliError with all of them, if there are any */
export function refuseAll(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  throw new CliError(`${count} in the configuration:\n${problems.map((text) => `  ${text}`).join('\n')}`);
}
