import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryFolder, takeCareOf } from './leftovers.ts';
import { type Programs, programsIn, projectRoot, runTool } from './program.ts';

/** A build that was released before this one. */
export interface PreviousBuild {
  /** Tag or folder, for people. */
  readonly name: string;
  readonly programs: Programs;
  /** Folder with the migrations it knows. */
  readonly migrationsDir: string;
}

/** Names a checkout in which an earlier version is built already, to be taken instead of a tag. */
export const previousBuildVariable = 'SIGILWATCH_TEST_PREVIOUS_BUILD';

/** Where an earlier version can be had from; `none` says why it cannot. */
export type PreviousSource = { readonly tag: string } | { readonly folder: string } | { readonly none: string };

/**
 * The newest tag `v*` among the ancestors of what is checked out that is no name of that itself, unless a folder is given.
 */
export function previousSource(folder = process.env[previousBuildVariable]): PreviousSource {
  if (folder !== undefined && folder !== '') return { folder };
  if (!existsSync(join(projectRoot, '.git'))) return { none: 'this is no git checkout, so there is no tag to build' };
  const list = ['tag', '--list', 'v*', '--merged', 'HEAD', '--no-contains', 'HEAD', '--sort=-version:refname'];
  const [tag = ''] = git(...list).split('\n');
  return tag === '' ? { none: 'no version was tagged before this one (git tag --list "v*")' } : { tag };
}

/**
 * Makes the programs of `source` ready to run: a tag is checked out beside this checkout, and built with the packages that are
 * installed here.
 * @throws when it cannot be built, with what the build said
 */
export function previousBuild(source: Exclude<PreviousSource, { none: string }>): PreviousBuild {
  const root = 'folder' in source ? source.folder : builtTag(source.tag);
  const name = 'folder' in source ? source.folder : source.tag;
  return { name, programs: programsIn(root), migrationsDir: join(root, 'dist/migrations') };
}

function builtTag(tag: string): string {
  const folder = makeTemporaryFolder('sgw-previous-');
  const root = join(folder.path, tag);
  git('worktree', 'add', '--detach', root, `refs/tags/${tag}`);
  const forget = () => void git('worktree', 'remove', '--force', root);
  takeCareOf({ remove: async () => forget(), removeNow: forget });
  symlinkSync(join(projectRoot, 'node_modules'), join(root, 'node_modules'));
  mkdirSync(join(root, 'dist'));
  runTool(process.execPath, [join(projectRoot, 'node_modules/tsup/dist/cli-default.js')], process.env, root);
  return root;
}

function git(...args: readonly string[]): string {
  return runTool('git', ['-C', projectRoot, ...args]).trim();
}
