import { readFile } from 'node:fs/promises';
import type { CommandLine } from './command-line.ts';
import { DeploymentError, reasonOf } from './failure.ts';

/** What stands in the files of the command line; undefined for those that were not named. */
export interface GivenFiles {
  readonly collectorSettings: string | undefined;
  readonly nodeSettings: string | undefined;
  /** PEM. */
  readonly authority: string | undefined;
}

/** Before anything is done anywhere. @throws DeploymentError with the option and the reason */
export async function readGiven({ collectorSettings, nodeSettings, caFile }: CommandLine): Promise<GivenFiles> {
  const read = (option: string, path: string | undefined) =>
    path === undefined
      ? undefined
      : readFile(path, 'utf8').catch((cause: unknown) => {
          throw new DeploymentError(`${option}: ${reasonOf(cause)}`, { cause });
        });
  return {
    collectorSettings: await read('--collector-settings', collectorSettings),
    nodeSettings: await read('--node-settings', nodeSettings),
    authority: await read('--ca-file', caFile),
  };
}
