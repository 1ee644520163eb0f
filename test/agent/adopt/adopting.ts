import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ManifestAdoptOptions, manifestAdopt } from '../../../agent/commands/manifest-adopt.ts';
import { agentSettings } from '../../../agent/config.ts';
import { manifestRepository, settableClock } from '../watching.ts';

export interface Adopted {
  readonly code: number;
  /** The patch, unless it went elsewhere. */
  readonly stdout: string;
  /** What a person is told. */
  readonly stderr: string;
}

/** A repository, an engine's socket, and the command that turns one into a patch for the other. */
export function adopting(temp: string, socketPath: string) {
  const repository = manifestRepository(mkdtempSync(join(temp, 'repo-')));
  const settings = agentSettings.parse({
    ...{ dataDir: temp, docker: { socketPath }, manifest: { repository: repository.dir } },
    ...{ collector: {}, log: {}, sigils: {}, integrity: { snapshots: {} }, outbox: {}, http: {} },
  });
  const adopt = async (options: Partial<ManifestAdoptOptions> & { json?: boolean } = {}): Promise<Adopted> => {
    const told = { stdout: '', stderr: '' };
    const clock = settableClock();
    const stdout = (text: string) => {
      told.stdout += text;
    };
    const stderr = (text: string) => {
      told.stderr += text;
    };
    const { json = false, ...rest } = options;
    const code = await manifestAdopt(
      { settings, clock, json, stdout, stderr, home: undefined },
      { node: 'n1', ...rest },
    );
    return { code, ...told };
  };
  return {
    repository,
    adopt,
    /** Applies a patch as an operator does, and leaves the commit in the repository. */
    am: (patch: string): void => {
      const path = join(mkdtempSync(join(temp, 'patch-')), 'adopt.patch');
      writeFileSync(path, patch);
      repository.git('am', '--quiet', path);
    },
    /** Lines that the patch takes away and puts there. */
    changed: (patch: string): string[] => {
      const hunks = patch.slice(patch.indexOf('\n@@'));
      return hunks.split('\n').filter((line) => /^[+-]/.test(line) && line !== '-- ');
    },
  };
}
