import { pack } from 'tar-stream';
import { foldersOf, isFile, sorted, type TreeEntry } from './tree.ts';

/**
 * A tar archive of these entries and the folders they are in, below `prefix`. The same entries give the same bytes: sorted, of
 * root, all of one time.
 * @param prefix such as `./` or `name/`
 * @param seconds since 1970
 */
export async function tarOf(entries: readonly TreeEntry[], prefix: string, seconds: number): Promise<Buffer> {
  const archive = pack();
  const mtime = new Date(seconds * 1000);
  const common = { uid: 0, gid: 0, uname: 'root', gname: 'root', mtime };
  const whole = collect(archive);
  const folders = foldersOf(entries.map((entry) => ({ ...entry, path: prefix + entry.path })));
  for (const folder of folders) archive.entry({ ...common, name: `${folder}/`, type: 'directory', mode: 0o755 });
  for (const entry of sorted(entries)) {
    const name = prefix + entry.path;
    if (isFile(entry)) archive.entry({ ...common, name, mode: entry.mode }, entry.bytes);
    else archive.entry({ ...common, name, type: 'symlink', linkname: entry.target, mode: 0o777 });
  }
  archive.finalize();
  return whole;
}

export async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) if (Buffer.isBuffer(piece)) pieces.push(piece);
  return Buffer.concat(pieces);
}
