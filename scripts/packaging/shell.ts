import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Arch, machineOf } from './arch.ts';
import type { ProgramPackage } from './programs.ts';

const folder = join(import.meta.dirname, 'shell');

export type ScriptName = 'install' | 'uninstall' | 'preinst' | 'postinst' | 'prerm' | 'postrm';

export interface ScriptFacts {
  readonly program: ProgramPackage;
  readonly version: string;
  readonly arch: Arch;
  /** Files of `systemd/` that the package has: `.service` and `.timer`, and `.conf` for users. */
  readonly units: readonly string[];
  readonly users: readonly string[];
}

/** A script of `shell/`, whole: with the steps that it shares, and what it has to know of its package. */
export async function scriptText(name: ScriptName, facts: ScriptFacts): Promise<string> {
  const [script, steps] = await Promise.all([sourceOf(name), sourceOf('steps')]);
  const whole = script.replace('#include steps.sh\n', () => steps);
  const values = placeholders(facts);
  return whole.replace(/@([A-Z]+)@/g, (all, key: string) => values[key] ?? all);
}

function sourceOf(name: ScriptName | 'steps'): Promise<string> {
  return readFile(join(folder, `${name}.sh`), 'utf8');
}

function placeholders({ program, version, arch, units, users }: ScriptFacts): Readonly<Record<string, string>> {
  return {
    NAME: program.name,
    VERSION: version,
    MACHINE: machineOf[arch],
    USER: program.user,
    DATA: program.dataDir,
    SETTINGS: program.settings,
    SERVICES: program.services.join(' '),
    UNITS: units.join(' '),
    SYSUSERS: users.join(' '),
    WRITTEN: program.writtenSettings.join(' '),
    NEXT: program.next,
    BYHAND: program.byHand,
  };
}

/**
 * What starts a program of the package with the environment and flags of its own first line (tsup.config.ts), and the Node.js
 * beside it. Its settings are those of the machine unless it is told others (common/settings/command-line.ts).
 * @param settings path of the file; undefined for a program that has none
 * @throws when it does not begin as ours do
 */
export function commandText(base: string, file: string, source: string, settings?: string): string {
  const [, variables = '', flags] = /^#!\/usr\/bin\/env -S ((?:[A-Z_]+=\S+ )*)node ?(.*)\n/.exec(source) ?? [];
  if (flags === undefined) throw new Error(`${file} does not begin with "#!/usr/bin/env -S ... node ..."`);
  const set = [variables.trim(), ...(settings === undefined ? [] : [`SIGILWATCH_USUAL_CONFIG=${settings}`])];
  const exports = set
    .filter((text) => text !== '')
    .map((text) => `export ${text}\n`)
    .join('');
  return `#!/bin/sh\n${exports}exec /${base}/bin/node ${flags} /${base}/dist/${file} "$@"\n`;
}
