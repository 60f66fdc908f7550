import { CONFIG_FILE_ENV, SETTINGS } from './settings.ts';

/** The sections of the README that hold a table made from the code. */
export const CONFIG_TABLE_START = '<!-- config-table -->';
export const CONFIG_TABLE_END = '<!-- /config-table -->';

/** Every setting as a Markdown table. */
export function configTable(): string {
  const rows = [
    ['Flag', 'Variable', 'File key', 'Default', 'Meaning'],
    ['---', '---', '---', '---', '---'],
    ['`--config <file>`', `\`${CONFIG_FILE_ENV}\``, '', 'none', 'JSON file with the keys of this table'],
    ...SETTINGS.map((setting) => [
      `\`${setting.flag}\`${setting.negatable ? `, \`${setting.flag.replace('--', '--no-')}\`` : ''}`,
      `\`${setting.env}\``,
      `\`${setting.key}\``,
      setting.defaultText,
      setting.description,
    ]),
  ];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/**
 * The document with its table section replaced.
 * @throws where the markers are missing or out of order
 */
export function withConfigTable(document: string): string {
  const start = document.indexOf(CONFIG_TABLE_START);
  const end = document.indexOf(CONFIG_TABLE_END);
  if (start < 0 || end < start) {
    throw new Error(`the document needs a section ${CONFIG_TABLE_START} … ${CONFIG_TABLE_END}`);
  }
  return `${document.slice(0, start)}${CONFIG_TABLE_START}\n${configTable()}\n${document.slice(end)}`;
}
