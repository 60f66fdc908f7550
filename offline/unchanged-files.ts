/** That files stay as they are while they are read: Parquet is read where it lies, several times. */
import { InputError } from './input-error.ts';
import type { TableInput } from './table-relation.ts';
import { fileIdentity } from './work-directory.ts';

type Identities = readonly Awaited<ReturnType<typeof fileIdentity>>[];

export class UnchangedFiles {
  readonly #identities: Identities;

  /** As they are now. */
  static async of(inputs: Iterable<TableInput>): Promise<UnchangedFiles> {
    const files = [...inputs].flatMap((input) => ('files' in input ? input.files : []));
    return new UnchangedFiles(await Promise.all(files.map(fileIdentity)));
  }

  private constructor(identities: Identities) {
    this.#identities = identities;
  }

  /** @throws InputError where one has another size or time of change, or is gone */
  async check(): Promise<void> {
    for (const { file, bytes, modified_ms } of this.#identities) {
      const now = await fileIdentity(file).catch(() => null);
      if (now?.bytes === bytes && now.modified_ms === modified_ms) continue;
      throw new InputError(
        `${file} was changed while it was read: the values may be of either content. Make it again, from files that nobody writes to`,
      );
    }
  }
}
