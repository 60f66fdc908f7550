/** Certificates for 127.0.0.1, made by openssl for one test run. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../services/process/find-program.ts';

/** null, or why none can be made. */
export const certificateProblem: string | null =
  findProgram('openssl') === null ? 'openssl is not installed (Debian package openssl)' : null;

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  /** Key and certificates in one file, as Kafka takes them. */
  readonly serverKeystore: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** Signed nothing. */
  readonly otherCa: string;
  remove(): void;
}

export function makeCertificates(): Certificates {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-certificates-'));
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: directory, encoding: 'utf8' });
    if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const newKey = ['-newkey', 'rsa:2048', '-nodes'];
  const makeCa = (name: string): void => {
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
    );
  };
  const sign = (name: string): void => {
    openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const ca = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...ca,
      '-days',
      '2',
      '-extfile',
      'san',
      '-out',
      `${name}.pem`,
    );
  };
  writeFileSync(at('san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  makeCa('ca');
  makeCa('other-ca');
  sign('server');
  sign('client');
  const texts = [
    openssl('pkcs8', '-topk8', '-nocrypt', '-in', 'server.key'),
    openssl('x509', '-in', 'server.pem'),
  ];
  writeFileSync(at('keystore.pem'), texts.join(''));
  return {
    ca: at('ca.pem'),
    serverCert: at('server.pem'),
    serverKey: at('server.key'),
    serverKeystore: at('keystore.pem'),
    clientCert: at('client.pem'),
    clientKey: at('client.key'),
    otherCa: at('other-ca.pem'),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
