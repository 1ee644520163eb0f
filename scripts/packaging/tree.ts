/** A file or symbolic link of a package, by its path from the root of the machine, such as `usr/bin/sigilwatch-agent`. */
export type TreeEntry =
  | { readonly path: string; readonly mode: number; readonly bytes: Buffer }
  | { readonly path: string; readonly target: string };

export type TreeFile = Extract<TreeEntry, { readonly bytes: Buffer }>;

export const plainMode = 0o644;
export const programMode = 0o755;

export function textFile(path: string, text: string, mode = plainMode): TreeFile {
  return { path, mode, bytes: Buffer.from(text) };
}

export type TreeLink = Extract<TreeEntry, { readonly target: string }>;

export function isLink(entry: TreeEntry): entry is TreeLink {
  return 'target' in entry;
}

export function isFile(entry: TreeEntry): entry is TreeFile {
  return 'bytes' in entry;
}

/** By the bytes of their paths, whatever the locale. @throws when two have one path */
export function sorted<T extends TreeEntry>(entries: readonly T[]): T[] {
  const all = entries.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const twice = all.find(({ path }, place) => path === all[place - 1]?.path);
  if (twice !== undefined) throw new Error(`two entries for ${twice.path}`);
  return all;
}

/** Every folder that these are in, each before what is in it. */
export function foldersOf(entries: readonly TreeEntry[]): string[] {
  const folders = new Set<string>();
  for (const { path } of entries) {
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) folders.add(path.slice(0, end));
  }
  return [...folders].sort();
}
