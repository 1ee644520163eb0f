import { lstat, readlink, stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { type Named, placeOutOfReach } from '../../common/out-of-reach.ts';
import { writeDurably } from './durable-file.ts';

declare global {
  namespace NodeJS {
    interface Process {
      /** Of Node.js, and missing in its types: the groups that the machine's lists give a user, and one more. */
      readonly initgroups?: (user: number, extraGroup: number) => void;
    }
  }
}

/** Whoever is in it may ask the executor (systemd/sigilwatch-executor.sysusers.conf). The agent's unit puts the agent there. */
const engineGroup = 'sigilwatch-engine';

/** Who the data are of, where that is not whoever runs this. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Root becomes the owner of the data directory, for good, with the groups that the agent has: what a command leaves there has to be
 * the agent's to read and write, and what it sees has to be what the agent sees. Without effect for everybody else, and where root is
 * the owner.
 */
export async function becomeOwner(dataDir: string): Promise<void> {
  const owner = await ownerBesidesRoot(dataDir);
  if (owner === undefined) return;
  takeGroups(owner);
  process.setgid?.(owner.gid);
  process.setuid?.(owner.uid);
}

/** As {@link becomeOwner}, until the returned function is called. A data directory that is not there yet will be whoever's runs the agent. */
export async function actAsOwner(dataDir: string): Promise<() => void> {
  const owner = await ownerBesidesRoot(dataDir);
  return owner === undefined ? () => {} : actAs(owner);
}

/** Puts a file in place of whatever has this name, as {@link writeDurably}. */
export type WriteNamed = (path: string, contents: string) => Promise<void>;

/**
 * Does `work` as {@link actAsOwner}, but for files that whoever runs a command has named: where root may write and the owner has no say,
 * they are written by root. All others are written as the owner. Nothing else may be under way while one is.
 */
export async function asOwnerWithFiles<T>(dataDir: string, work: (write: WriteNamed) => Promise<T>): Promise<T> {
  const owner = await ownerBesidesRoot(dataDir);
  if (owner === undefined) return work(writeDurably);
  let goBack = actAs(owner);
  const writeAsRoot = async (path: string, contents: string): Promise<boolean> => {
    goBack();
    try {
      const place = await placeOutOfReach(owner.uid, isAbsolute(path) ? path : `${process.cwd()}/${path}`, lookAt);
      if (place !== undefined) await writeDurably(place, contents);
      return place !== undefined;
    } finally {
      goBack = actAs(owner);
    }
  };
  try {
    return await work(async (path, contents) => {
      if (!(await writeAsRoot(path, contents))) await writeDurably(path, contents);
    });
  } finally {
    goBack();
  }
}

async function lookAt(path: string): Promise<Named | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  const { uid, mode } = found;
  if (found.isSymbolicLink()) return { kind: 'link', uid, mode, target: await readlink(path) };
  return { kind: found.isDirectory() ? 'folder' : 'other', uid, mode };
}

function actAs(owner: Owner): () => void {
  const before = process.getgroups?.() ?? [];
  takeGroups(owner);
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
  return () => {
    process.seteuid?.(0);
    process.setegid?.(0);
    process.setgroups?.(before);
  };
}

async function ownerBesidesRoot(dataDir: string): Promise<Owner | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const owner = await stat(dataDir).catch(() => undefined);
  return owner === undefined || owner.uid === 0 ? undefined : owner;
}

function takeGroups({ uid, gid }: Owner): void {
  const groups = groupsOf(uid, gid);
  try {
    process.setgroups?.([...groups, engineGroup]);
  } catch {
    // There is no such group where there is no executor.
    process.setgroups?.(groups);
  }
}

/** Those that the machine's lists of users and groups give this user. One that is in no list has the folder's group alone. */
function groupsOf(uid: number, gid: number): number[] {
  try {
    process.initgroups?.(uid, gid);
    return process.getgroups?.() ?? [gid];
  } catch {
    return [gid];
  }
}
