import { stat, statfs } from 'node:fs/promises';
import { certificateAge } from '../../common/certificate-age.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { shellWord } from '../../common/shell-word.ts';
import type { CollectorSettings } from '../config.ts';
import { requireSafeAddress } from '../http/server.ts';
import { readTls, tlsFiles } from '../http/tls.ts';
import { lastHold } from '../steady-clock.ts';
import { askOwnHealth } from './own-health.ts';

/** Rights that a data directory need not give: writing to the group, reading and writing to others. */
const othersMask = 0o026;

/** What the collector needs of its machine. */
export function machinePlans(settings: CollectorSettings): Plan[] {
  const { dataDir, http } = settings;
  return [
    { name: 'data directory', fix: 'correct dataDir in the settings', look: () => lookAtDataDir(dataDir) },
    { name: 'disk space', fix: `free space on the file system of ${dataDir}`, look: () => lookAtDisk(dataDir) },
    {
      name: 'certificate',
      fix: 'correct http.tls.certificate and http.tls.key in the settings',
      look: () => lookAtTls(http),
    },
    {
      name: 'service',
      fix: 'systemctl start sigilwatch-collector, or by hand: sigilwatch-collector run',
      look: () => lookAtService(settings),
    },
    { name: 'deletions', fix: keepTime, look: () => lookAtDeletions(dataDir) },
  ];
}

async function lookAtDataDir(dataDir: string): Promise<string> {
  const found = await stat(dataDir).catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT') {
      const fix = 'sigilwatch-collector run (it makes the folder), or correct dataDir in the settings';
      throw new Wrong(`${dataDir} does not exist`, fix);
    }
    throw new AppError('validation.config', `${dataDir} cannot be looked into (${errnoOf(cause)})`, { cause });
  });
  if (!found.isDirectory()) throw new AppError('validation.config', `${dataDir} is no folder`);
  const self = process.geteuid?.() ?? found.uid;
  // Root has become the owner before it looks.
  if (found.uid !== self) {
    const told = `${dataDir} belongs to user ${found.uid}, but this runs as ${self}`;
    throw new Wrong(told, 'sudo sigilwatch-collector doctor');
  }
  if ((found.mode & othersMask) !== 0) {
    const octal = (found.mode & 0o777).toString(8).padStart(4, '0');
    throw new Wrong(
      `others may look into ${dataDir} or write there (mode ${octal})`,
      `chmod g-w,o-rw ${shellWord(dataDir)}`,
    );
  }
  return `${dataDir} is there, and closed to others`;
}

/** @throws NotChecked for everything that is read from there, where it is not there or not ours. */
export async function requireOwnDataDir(dataDir: string): Promise<void> {
  const found = await stat(dataDir).catch(() => undefined);
  if (found === undefined) throw new NotChecked('there is no data directory yet', 'see data directory');
  const self = process.geteuid?.() ?? found.uid;
  if (found.uid !== self) throw new NotChecked('the data directory is not ours', 'see data directory');
}

async function lookAtDisk(dataDir: string): Promise<string> {
  const space = await statfs(dataDir).catch(() => {
    throw new NotChecked('there is no data directory yet', 'see data directory');
  });
  const freeBytes = space.bavail * space.bsize;
  const free = `${Math.floor(freeBytes / (1024 * 1024))} MiB free`;
  if (freeBytes >= limits.collectorFreeBytes) return free;
  throw new AppError('validation.config', `only ${free}`);
}

async function lookAtTls(http: CollectorSettings['http']): Promise<string> {
  const files = tlsFiles(http);
  if (files === undefined) {
    requireSafeAddress(http, undefined);
    throw new NotChecked(
      http.insecure
        ? `there is no TLS here, and http.insecure accepts that at ${http.host}`
        : `there is no TLS, and ${http.host} is for this machine alone`,
    );
  }
  const { validTo } = await readTls(files);
  const { mode } = await stat(files.key);
  if ((mode & 0o007) !== 0)
    throw new Wrong(`others may use the key ${files.key}`, `chmod o-rwx ${shellWord(files.key)}`);
  const renewal = 'renew it; new files in the place of the old ones are taken without a restart';
  return certificateAge(Date.parse(validTo), Date.now(), renewal);
}

const keepTime = 'have the time kept (timedatectl set-ntp true); it ends by itself while a collector runs';

/** By the record of the collector that runs here: the clock of whoever looks now says nothing about what became of it. */
async function lookAtDeletions(dataDir: string): Promise<string> {
  await requireOwnDataDir(dataDir);
  const hold = await lastHold(dataDir);
  if (hold === undefined) throw new NotChecked('no collector has looked at the clock here yet', 'see service');
  if (hold.ms === 0) return 'what is old may go: the clock goes evenly';
  const minutes = Math.ceil(hold.ms / 60_000);
  throw new Wrong(`nothing is deleted by age for another ${minutes} min: ${hold.why}`, keepTime);
}

async function lookAtService({ dataDir, http }: CollectorSettings): Promise<string> {
  await requireOwnDataDir(dataDir);
  if (http.port === 0) throw new NotChecked('http.port is 0, so nobody knows where it listens');
  return askOwnHealth(http);
}
