/** What has a name in a file system, as lstat(2) tells it. */
export interface Named {
  readonly kind: 'folder' | 'link' | 'other';
  readonly uid: number;
  readonly mode: number;
  /** Of a link: where it leads. */
  readonly target?: string;
}

/** Undefined where nothing has this name. */
export type LookAt = (path: string) => Promise<Named | undefined>;

/**
 * A file in a folder as {@link folderOutOfReach}.
 * @param path absolute
 * @returns its path without a link on the way; undefined where this user could have a say in where that is
 */
export async function placeOutOfReach(uid: number, path: string, look: LookAt): Promise<string | undefined> {
  const end = path.lastIndexOf('/');
  const name = path.slice(end + 1);
  if (['', '.', '..'].includes(name)) return undefined;
  const folder = await folderOutOfReach(uid, path.slice(0, end), look);
  return folder === undefined ? undefined : below(folder, [name]);
}

/** As many as Linux follows in one path (path_resolution(7)). */
const maxLinks = 40;
const writableByOthers = 0o022;
const sticky = 0o1000;

/**
 * Where a folder really is that root may write into without being misled by this user: nothing on the way there belongs to the user, or
 * can be put there by others than the owners of its folders. What is not there yet counts as if it were.
 * @param path absolute. An owner who is somebody else, and not this user, is whom root trusts by naming the folder.
 * @returns its path without a link in it; undefined where it is within reach, or no folder
 */
export async function folderOutOfReach(uid: number, path: string, look: LookAt): Promise<string | undefined> {
  let at = '/';
  let left = namesIn(path);
  let links = 0;
  for (;;) {
    const folder = await look(at);
    if (folder?.kind !== 'folder' || folder.uid === uid) return undefined;
    const isShared = (folder.mode & writableByOthers) !== 0;
    if (isShared && (folder.mode & sticky) === 0) return undefined;
    const [name, ...rest] = left;
    if (name === undefined) return isShared ? undefined : at;
    const next = name === '..' ? parentOf(at) : below(at, [name]);
    const found = await look(next);
    if (found === undefined) return isShared ? undefined : below(next, rest);
    if (found.kind === 'link') {
      links += 1;
      // Where names are anybody's to give, a link may be anybody's.
      if (isShared || links > maxLinks || found.target === undefined) return undefined;
      if (found.target.startsWith('/')) at = '/';
      left = [...namesIn(found.target), ...rest];
      continue;
    }
    at = next;
    left = rest;
  }
}

function namesIn(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function below(folder: string, names: readonly string[]): string {
  return [folder === '/' ? '' : folder, ...names].join('/');
}

function parentOf(folder: string): string {
  return folder.slice(0, Math.max(1, folder.lastIndexOf('/')));
}
