/** One version of a server in all places that name it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { K6_VERSION } from './k6/k6.ts';
import { checkoutRoot, type LibraryName, pomOf } from './libraries/library.ts';

const read = (path: string): string => readFileSync(join(checkoutRoot, path), 'utf8');

function versionIn(name: LibraryName, artifact: string): string {
  const pom = readFileSync(pomOf(name), 'utf8');
  const at = pom.indexOf(`<artifactId>${artifact}</artifactId>`);
  return /<version>([^<]+)<\/version>/.exec(pom.slice(at))![1]!;
}

const kafka = versionIn('kafka', 'kafka_2.13');
const registry = versionIn('registry', 'apicurio-registry-app');

test('docker-compose.yml runs what the tests run', () => {
  const compose = read('docker-compose.yml');
  expect(compose).toContain(`image: apache/kafka:${kafka}\n`);
  expect(compose).toContain(`image: apicurio/apicurio-registry-kafkasql:${registry}\n`);
});

test('the README names them', () => {
  const readme = read('services/README.md');
  expect(readme).toContain(`| Kafka | ${kafka} `);
  expect(readme).toContain(`Apicurio ${registry} `);
  expect(readme).toContain(`builds k6 ${K6_VERSION} `);
  expect(read('loadtest/README.md')).toContain(`(${K6_VERSION}, some`);
});

test('every image and base image has a version', () => {
  const images = [
    ...read('docker-compose.yml').matchAll(/image: (\S+)/g),
    ...read('Dockerfile').matchAll(/^FROM (\S+)/gm),
  ];
  for (const [, image] of images) expect(image).toMatch(/:v?\d+\.\d+\.\d+/);
});

test('the image is called as the package is', () => {
  const { name, version } = JSON.parse(read('package.json')) as { name: string; version: string };
  expect(read('docker-compose.yml')).toContain(`image: ${name}:${version}\n`);
});
