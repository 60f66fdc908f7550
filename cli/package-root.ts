import { existsSync, readFileSync } from 'node:fs';

/** The directory of package.json, whether this runs from cli/ or from dist/cli/. Ends with a slash. */
export const packageRoot: URL = ((): URL => {
  const here = new URL('../', import.meta.url);
  return existsSync(new URL('package.json', here)) ? here : new URL('../', here);
})();

/** The version in package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8')) as {
    version: string;
  };
  return version;
}
