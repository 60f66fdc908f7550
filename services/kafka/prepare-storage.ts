import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { javaFlags } from '../libraries/java.ts';
import { formattedStorage, kafkaClassPath } from './kafka-library.ts';
import { serverProperties } from './kafka-recipe.ts';

const STORAGE_TOOL_HEAP_MB = 128;

/** Formats the storage that brokers start on copies of. Ports are not in it. */
export function prepareStorage(libDir: string): void {
  const file = join(libDir, 'format.properties');
  writeFileSync(file, serverProperties(formattedStorage(libDir), [1, 2]));
  // 22 characters of base64url, as Kafka's ids are; a leading dash would be read as an option.
  const clusterId = `M${randomBytes(16).toString('base64url').slice(1)}`;
  const { status, stdout, stderr } = spawnSync(
    'java',
    [
      ...javaFlags(STORAGE_TOOL_HEAP_MB, null),
      ...['-cp', kafkaClassPath(libDir), 'kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', file],
    ],
    { encoding: 'utf8' },
  );
  rmSync(file);
  if (status !== 0) throw new Error(`kafka: formatting the storage failed:\n${stdout}${stderr}`);
}
