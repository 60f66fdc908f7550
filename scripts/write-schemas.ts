/** npm run docs: the schemas in schemas/ from the example definitions. `exampleSchemas` is what the test compares. */

import { compileRepo } from '../engine/definitions/compile.ts';
import { keyColumnsOf } from '../engine/definitions/decode-event.ts';
import { SCHEMA_FILE_SUFFIX, SUBJECT_FORMATS, subjectSchema } from '../ingest/decoding/subject-schemas.ts';

const EXAMPLES = ['card-fraud', 'login-velocity', 'retail'];

/** File name → content. */
export async function exampleSchemas(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const example of EXAMPLES) {
    const definitions: Record<string, unknown> = await import(`../examples/${example}/features.ts`);
    for (const source of compileRepo(Object.values(definitions)).sources.values()) {
      for (const format of SUBJECT_FORMATS) {
        const { schema } = subjectSchema(source.definition, format, keyColumnsOf(source));
        files.set(`${source.name}${SCHEMA_FILE_SUFFIX[format]}`, schema);
      }
    }
  }
  return files;
}
