import { readFile, stat } from 'node:fs/promises';
import { countSigners } from '../../common/allowed-signers.ts';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import { shellWord } from '../../common/shell-word.ts';
import { version } from '../../common/version.ts';
import { versionSkew } from '../../common/version-skew.ts';
import type { CollectorSettings } from '../config.ts';
import { gitRepository } from '../desired/git.ts';
import { agentVersions, countUsers } from '../postgres/doctor-store.ts';
import { type DatabaseSeen, withTables } from './database.ts';

/** Whom the collector serves, and what it is to have them do. */
export function fleetPlans({ manifest }: CollectorSettings, seen: DatabaseSeen): Plan[] {
  return [
    {
      name: 'manifest',
      fix: 'commit a correct one: sigilwatch-collector manifest check PATH',
      look: () => lookAtManifest(manifest.repository),
    },
    {
      name: 'signers file',
      fix: 'correct the file that manifest.allowedSigners names',
      look: () => lookAtSigners(manifest.allowedSigners),
    },
    { name: 'users', fix: 'sigilwatch-collector users change NAME --unlock', look: () => lookAtUsers(seen) },
    { name: 'agents', fix: 'install the same version there', look: () => lookAtAgents(seen) },
  ];
}

async function lookAtManifest(path: string | undefined): Promise<string> {
  if (path === undefined) throw new NotChecked('nothing is wanted; manifest.repository is not set');
  const repository = gitRepository(path);
  const commit = await repository.head().catch((thrown: unknown) => {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Wrong(reason, 'correct manifest.repository in the settings, or let the collector read it');
  });
  const { containers, services } = parseManifestFiles(await readCommitted(repository, commit));
  return `${amount(containers.length + services.length, 'container')} in commit ${commit.slice(0, 12)}`;
}

async function lookAtSigners(path: string | undefined): Promise<string> {
  if (path === undefined) throw new NotChecked('nobody can approve orders here; manifest.allowedSigners is not set');
  const found = await stat(path).catch((cause: unknown) => {
    const fix = `put the signers there, one a line: echo "NAME $(cat KEY.pub)" >> ${shellWord(path)}`;
    throw new Wrong(`${path} cannot be looked at (${errnoOf(cause)})`, fix);
  });
  if ((found.mode & 0o022) !== 0) throw new Wrong(`others may write to ${path}`, `chmod go-w ${shellWord(path)}`);
  if (found.size > limits.maxSignersFileBytes) throw new AppError('validation.config', `${path} is too long`);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Wrong(`${path} cannot be read (${errnoOf(cause)})`, `chmod a+r ${shellWord(path)}`);
  });
  return `${path}, ${amount(countSigners(text), 'signer')}`;
}

async function lookAtUsers(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const { users, admins } = await countUsers(db);
  if (users === 0) {
    throw new Wrong(
      'there are none, so nobody can sign in',
      'sigilwatch-collector login --server URL --setup, with the code that the collector printed at its start',
    );
  }
  if (admins > 0) return `${amount(users, 'user')}, of whom ${amount(admins, 'administrator')}`;
  throw new AppError('state.conflict', `${amount(users, 'user')}, none of them an administrator who may sign in`);
}

async function lookAtAgents(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const found = await agentVersions(db);
  const nodes = found.reduce((all, one) => all + one.nodes, 0);
  if (nodes === 0) throw new NotChecked('no node is enrolled', 'sigilwatch-collector nodes token NAME');
  for (const { version: theirs, nodes: many, example } of found) {
    if (theirs === null) continue;
    const who = many === 1 ? `the agent of ${example}` : `${many} agents, that of ${example} among them,`;
    const skew = versionSkew(theirs, version);
    if (skew === 'agent_newer') {
      const fix = `install version ${theirs} of the collector: it goes first`;
      throw new Wrong(`${who} run ${theirs}, newer than this collector (${version})`, fix);
    }
    if (skew !== 'agent_older') continue;
    throw new Wrong(
      `${who} run ${theirs}, more than one minor version behind ${version}`,
      `install version ${version} there`,
    );
  }
  const versions = found.map((one) => `${one.nodes} with ${one.version ?? 'an agent that never started'}`);
  return `${amount(nodes, 'node')}: ${versions.join(', ')}`;
}
