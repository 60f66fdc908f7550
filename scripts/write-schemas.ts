/** npm run docs: the JSON Schemas in schemas/ from the example definitions. `exampleSchemas` is what the test compares. */

import { compileRepo } from '../engine/definitions/compile.ts';
import { keyColumnsOf } from '../engine/definitions/decode-event.ts';
import { eventJsonSchema } from '../engine/definitions/json-schema.ts';

const EXAMPLES = ['card-fraud', 'login-velocity', 'retail'];

/** File name → content. */
export async function exampleSchemas(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const example of EXAMPLES) {
    const definitions: Record<string, unknown> = await import(`../examples/${example}/features.ts`);
    for (const source of compileRepo(Object.values(definitions)).sources.values()) {
      const schema = eventJsonSchema(source.definition, keyColumnsOf(source));
      files.set(`${source.name}.schema.json`, `${JSON.stringify(schema, null, 2)}\n`);
    }
  }
  return files;
}
