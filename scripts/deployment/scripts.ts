import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProgramPackage } from '../packaging/programs.ts';
import { quoted } from './ssh.ts';

/** Files of `shell/`, which run on the machines. */
export type ScriptName =
  | 'facts'
  | 'copy'
  | 'keep'
  | 'install'
  | 'settings'
  | 'roll-back'
  | 'done'
  | 'start'
  | 'resume'
  | 'log'
  | 'enrol';

/** Those that call the collector's commands. */
export type CollectorScriptName = 'token' | 'row' | 'prove' | 'ready' | 'config' | 'authority';

/** Values for a script, by name; never a secret. */
export type Values = Readonly<Record<string, string>>;

/** The text of a script for a program, with its values above it. On one machine one of them is at work at a time, for each program. */
export async function scriptFor(program: ProgramPackage, name: ScriptName, values: Values = {}): Promise<string> {
  return [head(program, values), await fileOf('common'), await fileOf('turn'), await fileOf(name)].join('\n');
}

export async function collectorScript(
  program: ProgramPackage,
  name: CollectorScriptName,
  values: Values = {},
): Promise<string> {
  return [head(program, values), await fileOf('common'), await fileOf('on-collector'), await fileOf(name)].join('\n');
}

function head({ name, user, dataDir, settings, services }: ProgramPackage, values: Values): string {
  const all = { name, user, data: dataDir, settings, services: services.join(' '), ...values };
  return Object.entries(all)
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join('\n');
}

function fileOf(name: string): Promise<string> {
  return readFile(join(import.meta.dirname, 'shell', `${name}.sh`), 'utf8');
}
