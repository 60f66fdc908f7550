/** Python with modules that are not ours, which read what Millrace writes. Tests that lack them are skipped, and say so. */
import { execFileSync, spawnSync } from 'node:child_process';

/** For the title of a test: why it is skipped; null: all modules are there. */
export function lackOfPython(...modules: readonly string[]): string | null {
  const { status } = spawnSync('python3', ['-c', modules.map((name) => `import ${name}`).join('\n')]);
  return status === 0 ? null : `no python3 with ${modules.join(', ')}`;
}

/** What a program prints. @throws Error with what it says where it fails */
export function python(program: string, ...args: readonly string[]): string {
  return execFileSync('python3', ['-c', program, ...args], { encoding: 'utf8' });
}
