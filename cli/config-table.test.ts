import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CONFIG_TABLE_END, CONFIG_TABLE_START, configTable, withConfigTable } from './config-table.ts';
import { buildProgram } from './main.ts';
import { CONFIG_FILE_ENV, SETTINGS } from './settings.ts';

const readme = new URL('../README.md', import.meta.url);

describe('documentation of the settings', () => {
  it('gives every setting a row', () => {
    const table = configTable();
    for (const { key, env, flag } of SETTINGS) {
      expect(table).toContain(`\`${key}\``);
      expect(table).toContain(`\`${env}\``);
      expect(table).toContain(`\`${flag}\``);
    }
  });

  it('replaces the section of a document and nothing else', () => {
    const document = `a\n${CONFIG_TABLE_START}\nold\n${CONFIG_TABLE_END}\nb\n`;
    const written = withConfigTable(document);
    expect(written).toBe(`a\n${CONFIG_TABLE_START}\n${configTable()}\n${CONFIG_TABLE_END}\nb\n`);
    expect(withConfigTable(written)).toBe(written);
    expect(() => withConfigTable('nothing')).toThrow(CONFIG_TABLE_START);
  });

  it.skipIf(!existsSync(readme))('is in the README as the code has it (npm run docs writes it)', () => {
    const document = readFileSync(readme, 'utf8');
    expect(document).toBe(withConfigTable(document));
  });

  it('is in --help of each command that has the flag, with the variable', () => {
    const helps = buildProgram().commands.flatMap((command) =>
      // A command of several actions has its flags at each of them.
      (command.commands.length > 0 ? command.commands : [command]).map((action) => ({
        name: command.name(),
        help: action.helpInformation(),
      })),
    );
    for (const { name, help } of helps) {
      expect(help).toContain(CONFIG_FILE_ENV);
      for (const { flag, env, commands } of SETTINGS) {
        const expected = (commands as readonly string[]).includes(name);
        expect(new RegExp(`${env}\\b`).test(help), `${env} in the help of ${name}`).toBe(expected);
        expect(help.includes(flag)).toBe(expected);
      }
    }
  });

  it('stands in --help below what is the command’s own', () => {
    const rebuild = buildProgram().commands.find((command) => command.name() === 'rebuild')!;
    const help = rebuild.helpInformation();
    const order = [
      'Options:',
      '--view <name>',
      '--help',
      'Settings (',
      '--config <file>',
      '--kafka <brokers>',
    ];
    const at = order.map((text) => help.indexOf(text));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at[0]).toBeGreaterThan(0);
  });
});
