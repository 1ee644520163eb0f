import { readFile, stat } from 'node:fs/promises';
import { countSigners } from '../../common/allowed-signers.ts';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import { shellWord } from '../../common/shell-word.ts';
import type { AgentSettings } from '../config.ts';
import { DesiredFolder } from '../desired/folder.ts';
import { gitRepository } from '../desired/git.ts';
import { requireOwnDataDir } from './own-data-dir.ts';

/** What git says should run here, and who may say so. */
export function desiredPlans({ manifest, dataDir }: AgentSettings): Plan[] {
  const { repository, allowedSigners } = manifest;
  return [
    {
      name: 'manifest',
      fix: 'commit a correct one: sigilwatch-collector manifest check PATH',
      look: () => lookAtManifest(repository),
    },
    {
      name: 'commit in force',
      fix: 'commit a correct one, or one signed by who may: sigilwatch-agent desired show',
      look: () => lookAtCommit(dataDir),
    },
    {
      name: 'signers file',
      fix: 'correct the file that manifest.allowedSigners names',
      look: () => lookAtSigners(allowedSigners),
    },
  ];
}

async function lookAtManifest(path: string | undefined): Promise<string> {
  if (path === undefined) {
    throw new NotChecked('commits come from the collector or on a stick; manifest.repository is not set');
  }
  const repository = gitRepository(path);
  const commit = await repository.head();
  const { containers, services } = parseManifestFiles(await readCommitted(repository, commit));
  return `${amount(containers.length + services.length, 'container')} in commit ${commit.slice(0, 12)}`;
}

async function lookAtCommit(dataDir: string): Promise<string> {
  await requireOwnDataDir(dataDir);
  const { adopted, lastRefused } = (await new DesiredFolder(dataDir).shown()) ?? { adopted: null, lastRefused: null };
  // What was refused before the one in force came is past.
  if (lastRefused !== null && lastRefused.at > (adopted?.at ?? '')) {
    const { commit, file, line, reason } = lastRefused;
    const where = file === '' ? '' : `${file}:${line}: `;
    throw new AppError('auth.signature', `${commit?.slice(0, 12) ?? 'a bundle'} was refused: ${where}${reason}`);
  }
  if (adopted === null) throw new NotChecked('none has come into force here yet');
  return `${adopted.commit.slice(0, 12)}, signed by ${adopted.signer ?? 'nobody'}`;
}

async function lookAtSigners(path: string | undefined): Promise<string> {
  if (path === undefined)
    throw new NotChecked('commits need no SSH signature here; manifest.allowedSigners is not set');
  const found = await stat(path).catch((cause: unknown) => {
    throw new Wrong(
      `${path} cannot be looked at (${errnoOf(cause)})`,
      `put the signers there, one a line: echo "NAME $(cat KEY.pub)" >> ${shellWord(path)}`,
    );
  });
  if ((found.mode & 0o022) !== 0) throw new Wrong(`others may write to ${path}`, `chmod go-w ${shellWord(path)}`);
  if (found.size > limits.maxSignersFileBytes) throw new AppError('validation.config', `${path} is too long`);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Wrong(`${path} cannot be read (${errnoOf(cause)})`, `chmod a+r ${shellWord(path)}`);
  });
  return `${path}, ${amount(countSigners(text), 'signer')}`;
}
