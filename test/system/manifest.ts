import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { runTool } from './program.ts';

export interface ManifestRepository {
  readonly path: string;
  /** Commits another manifest, signed with the SSH key in this file where one is given. @returns the commit's id */
  commit(yamlText: string, keyFile?: string): string;
}

/** A git repository whose only commit holds `yamlText` as the manifest, signed where a key is given. */
export function makeManifestRepository(dir: string, yamlText: string, keyFile?: string): ManifestRepository {
  mkdirSync(dir, { recursive: true });
  // Nobody's own settings: no signing, no hooks, no templates.
  const env = { PATH: process.env.PATH, LC_ALL: 'C', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  const author = ['-c', 'user.name=operator', '-c', 'user.email=operator@example.org'];
  const git = (...args: readonly string[]) => runTool('git', ['-C', dir, ...author, ...args], env);
  const commit = (text: string, key?: string): string => {
    writeFileSync(join(dir, manifestFile), text);
    git('add', manifestFile);
    const signing = key === undefined ? [] : ['-c', 'gpg.format=ssh', '-c', `user.signingkey=${key}`];
    const sign = key === undefined ? '--no-gpg-sign' : '--gpg-sign';
    git(...signing, 'commit', sign, '--quiet', '--allow-empty', '--message', 'What should run');
    return git('rev-parse', 'HEAD').trim();
  };
  git('init', '--quiet', '--initial-branch', 'main');
  commit(yamlText, keyFile);
  return { path: dir, commit };
}

export interface WantedContainer {
  readonly node: string;
  readonly name: string;
  readonly image: string;
}

/** A manifest that wants these containers and nothing else. */
export function manifestText(containers: readonly WantedContainer[]): string {
  const nodes = [...new Set(containers.map(({ node }) => node))].map((name) => ({ name }));
  return stringify({ nodes, containers });
}
