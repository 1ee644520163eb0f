import type { z } from 'zod';
import { AppError, errnoOf } from '../errors.ts';
import { type LoadedSettings, loadSettings } from '../settings.ts';
import type { Environment, ReadTextFile } from './env.ts';

/** What a command line says about settings, and what it is said in. */
export interface CommandLine {
  readonly env: Environment;
  readonly readFile: ReadTextFile;
  /** `--config`; the variable SIGILWATCH_CONFIG when absent; else what SIGILWATCH_USUAL_CONFIG names, if it can be read. */
  readonly config?: string | undefined;
  /** `--data-dir`, which wins over every other source of `dataDir`. */
  readonly dataDir?: string | undefined;
}

/**
 * The settings of a program started with `commandLine`.
 * @throws AppError `validation.config` for a settings file that cannot be read, and for every wrong setting.
 */
export function settingsOf<Schema extends z.ZodObject>(
  schema: Schema,
  { env, readFile, config, dataDir }: CommandLine,
): LoadedSettings<z.output<Schema>> {
  const named = config ?? env.SIGILWATCH_CONFIG;
  const { yamlPath, yamlText } =
    named === undefined
      ? readUsualFile(env.SIGILWATCH_USUAL_CONFIG, readFile)
      : { yamlPath: named, yamlText: readSettingsFile(named, readFile) };
  // As a variable, so that `--print-config` shows it and an error names it.
  const given = dataDir === undefined ? env : { ...env, SIGILWATCH_DATA_DIR: dataDir };
  return loadSettings({ schema, env: given, yamlPath, yamlText, readFile });
}

/**
 * The settings of an installed package, as its commands name them: without them a command would look at other things than the program
 * that runs. Nobody has asked for this file, so it counts only for whoever can read it.
 */
function readUsualFile(path: string | undefined, readFile: ReadTextFile) {
  if (path === undefined || path === '') return {};
  try {
    return { yamlPath: path, yamlText: readFile(path) };
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === 'ENOENT' || errno === 'EACCES') return {};
    throw new AppError('validation.config', `the settings file ${path} cannot be read (${errno ?? 'unknown'})`, {
      cause: thrown,
    });
  }
}

function readSettingsFile(path: string, readFile: ReadTextFile): string {
  try {
    return readFile(path);
  } catch (cause) {
    const reason = errnoOf(cause) === 'ENOENT' ? 'does not exist' : `cannot be read (${errnoOf(cause) ?? 'unknown'})`;
    throw new AppError('validation.config', `the settings file ${path} ${reason}`, { cause });
  }
}
