import { access, constants, stat } from 'node:fs/promises';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { shellWord } from '../../common/shell-word.ts';
import type { AgentSettings } from '../config.ts';
import { diskSpace } from '../data/disk.ts';
import { identityPaths, readEnrolment, readKeys } from '../identity.ts';
import { type CollectorSeen, clockPlan } from './collector.ts';
import { enrolCommand, requireOwnDataDir } from './own-data-dir.ts';

/** Rights that a data directory need not give: writing to the group, anything to others. */
const othersMask = 0o027;

/** What the agent needs of its machine. */
export function machinePlans(settings: AgentSettings, seen: CollectorSeen): Plan[] {
  const { dataDir } = settings;
  return [
    { name: 'data directory', fix: 'let the agent run as its owner', look: () => lookAtDataDir(dataDir) },
    {
      name: 'disk space',
      fix: 'free space there, or set a smaller outbox.maxBytes in the settings',
      look: () => lookAtDisk(settings),
    },
    { name: 'key permissions', fix: 'let the files belong to the agent alone', look: () => lookAtKeys(dataDir) },
    clockPlan(seen),
  ];
}

async function lookAtDataDir(dataDir: string): Promise<string> {
  const found = await stat(dataDir).catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT') {
      throw new Wrong(`${dataDir} does not exist`, `${enrolCommand} (it makes the folder), or correct dataDir`);
    }
    throw new AppError('validation.config', `${dataDir} cannot be looked into (${errnoOf(cause)})`, { cause });
  });
  if (!found.isDirectory()) throw new Wrong(`${dataDir} is no folder`, 'correct dataDir in the settings');
  requireOwner(dataDir, found.uid);
  if ((found.mode & othersMask) !== 0) {
    const octal = (found.mode & 0o777).toString(8).padStart(4, '0');
    throw new Wrong(
      `others may look into ${dataDir} or write there (mode ${octal})`,
      `chmod 700 ${shellWord(dataDir)}`,
    );
  }
  await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK).catch((cause: unknown) => {
    throw new Wrong(`${dataDir} cannot be used (${errnoOf(cause)})`, `chmod 700 ${shellWord(dataDir)}`);
  });
  return `${dataDir} is there, writable, and closed to others`;
}

/** Whoever else asks would see other rights than the agent has. Root has become the owner before it looks. */
function requireOwner(dataDir: string, uid: number): void {
  const self = process.geteuid?.() ?? uid;
  if (self === uid) return;
  throw new Wrong(`${dataDir} belongs to user ${uid}, but this runs as ${self}`, 'sudo sigilwatch-agent doctor');
}

async function lookAtDisk({ dataDir, outbox }: AgentSettings): Promise<string> {
  const space = await diskSpace(dataDir);
  if (space === undefined) throw new NotChecked('there is no data directory yet', 'see data directory');
  const { freeBytes } = space;
  if (freeBytes >= outbox.maxBytes) return `${mebibytes(freeBytes)} free`;
  throw new AppError('outbox.full', `${mebibytes(freeBytes)} free, the outbox may need ${mebibytes(outbox.maxBytes)}`);
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / (1024 * 1024))} MiB`;
}

async function lookAtKeys(dataDir: string): Promise<string> {
  await requireOwnDataDir(dataDir);
  const { key, enrolment } = identityPaths(dataDir);
  const there = await Promise.all([key, enrolment].map(requirePrivate));
  if (!there.includes(true)) throw new NotChecked('there are none yet', 'see enrolment');
  await readKeys(key).catch((thrown: unknown) => rethrow(thrown, `${enrolCommand} --force`));
  await readEnrolment(enrolment).catch((thrown: unknown) => rethrow(thrown, `${enrolCommand} --force`));
  return 'identity.pem and collector.json can be read by the agent alone';
}

function rethrow(thrown: unknown, fix: string): never {
  throw thrown instanceof AppError ? new Wrong(thrown.message, fix) : thrown;
}

/** @returns whether the file is there. */
async function requirePrivate(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return false;
  const self = process.geteuid?.() ?? found.uid;
  if (found.uid !== self)
    throw new Wrong(`${path} belongs to user ${found.uid}, not to ${self}`, `chown ${self} ${shellWord(path)}`);
  if ((found.mode & 0o077) === 0) return true;
  const octal = (found.mode & 0o777).toString(8).padStart(4, '0');
  throw new Wrong(`others may use ${path} (mode ${octal})`, `chmod 600 ${shellWord(path)}`);
}
