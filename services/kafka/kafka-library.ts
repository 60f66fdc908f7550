/** Where things are in the installed library of Kafka. */
import { join } from 'node:path';
import { libraryDir } from '../libraries/library.ts';

export function kafkaClassPath(libDir: string = libraryDir('kafka')): string {
  // The JVM expands the star itself.
  return join(libDir, 'jars', '*');
}

/** A storage directory that `kafka.tools.StorageTool` formatted; brokers start on copies, which saves a JVM each. */
export function formattedStorage(libDir: string = libraryDir('kafka')): string {
  return join(libDir, 'formatted');
}
