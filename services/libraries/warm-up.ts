/** One run of a freshly installed server that leaves an archive of its classes: later starts take half the time. */
import { rmSync } from 'node:fs';
import { kafkaRecipe } from '../kafka/kafka-recipe.ts';
import { Server, type ServerRecipe } from '../process/server.ts';
import { registryRecipe } from '../registry/registry-recipe.ts';
import { classArchive, type LibraryName } from './library.ts';

/** The archive is written at the exit, which takes seconds. */
const DUMP_GRACE_MS = 60_000;

/** Never fails: without the archive everything works, only slower. */
export async function warmUp(name: LibraryName, report: (line: string) => void): Promise<void> {
  const archive = classArchive(name);
  rmSync(archive, { force: true });
  const recipe = name === 'kafka' ? kafkaRecipe() : registryRecipe();
  const recording: ServerRecipe = {
    ...recipe,
    prepare: (dir, ports) => {
      const { program, args } = recipe.prepare(dir, ports);
      return {
        program,
        args: args.map((arg) =>
          arg.startsWith('-XX:SharedArchiveFile=') ? `-XX:ArchiveClassesAtExit=${archive}` : arg,
        ),
      };
    },
    graceMs: DUMP_GRACE_MS,
  };
  try {
    const server = await Server.start(recording);
    await server.stop();
  } catch (error) {
    rmSync(archive, { force: true });
    report(`${name}: starts stay slow: ${(error as Error).message}`);
  }
}
