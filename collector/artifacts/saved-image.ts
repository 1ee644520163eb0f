import { createHash, type Hash } from 'node:crypto';
import { posix } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { z } from 'zod';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Artifact } from './artifact.ts';

/** `manifest.json` of `docker save`, one item for each image. */
const savedImages = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }),
);

/** What of an image's configuration binds its layers (OCI image specification, config.md). */
const imageConfig = z.object({ rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(z.string()) }) });

/** A member of the archive, read once as it came by. */
interface Member {
  readonly sha256: string;
  /** Of what is left when gzip is undone; null where the member is not compressed. */
  readonly unpackedSha256: string | null;
  /** Kept of what may be a manifest or a configuration. */
  readonly json: Buffer | null;
  readonly isZstd: boolean;
}

/** Members by name, and the links among them. */
interface Archive {
  readonly members: ReadonlyMap<string, Member>;
  readonly links: ReadonlyMap<string, string>;
}

/** Of a tar archive that is no saved image; its cause is nothing that was wrong with it. */
export class NotAnImage extends AppError {
  constructor(name: string) {
    super('validation.request', `${name} is no image saved by "docker save": it has no manifest.json`);
  }
}

/**
 * An image as `docker save` writes it, in either layout (with `layer.tar` files or OCI blobs), read once from front to end. Its SHA-256 is the
 * image's id: the hash of its configuration, which names each layer by the hash of its content. All of them are checked, so
 * what is not what the id stands for is refused.
 * @throws NotAnImage; AppError `validation.request` for what is no tar archive, holds several images, or is damaged; naming the member.
 */
export async function hashSavedImage(
  stream: Readable,
  name: string,
  onBytes: (bytes: number) => void,
): Promise<Artifact> {
  let bytes = 0;
  const counted = new PassThrough();
  counted.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    onBytes(bytes);
  });
  const archive = await readArchive(stream, counted, name);
  const image = imageOf(archive, name);
  return { ...image, bytes };
}

async function readArchive(stream: Readable, counted: PassThrough, name: string): Promise<Archive> {
  const members = new Map<string, Member>();
  const links = new Map<string, string>();
  let held = 0;
  const tar = extract();
  const reading = pipeline(stream, counted, tar);
  // It is waited for below; until then its failure is that of the loop.
  reading.catch(() => {});
  try {
    for await (const entry of tar) {
      const { header } = entry;
      const path = posix.normalize(header.name);
      if (members.size + links.size >= limits.maxImageMembers)
        throw wrong(name, `has more than ${limits.maxImageMembers} members`);
      if (members.has(path) || links.has(path)) throw wrong(name, `holds ${path} twice`);
      const target = linkTarget(header, path);
      if (target !== undefined) links.set(path, target);
      if (header.type === 'file') {
        const keeps = header.size <= limits.maxImageJsonBytes && held <= limits.imageJsonHeldBytes;
        const member = await readMember(entry, keeps);
        held += member.json?.length ?? 0;
        members.set(path, member);
      } else entry.resume();
    }
    await reading;
  } catch (thrown) {
    stream.destroy();
    throw thrown instanceof AppError
      ? thrown
      : wrong(name, `cannot be read as a tar archive: ${reasonOf(thrown)}`, thrown);
  }
  return { members, links };
}

/** Layers that several images share stand once, and are linked to. */
function linkTarget({ type, linkname }: Header, path: string): string | undefined {
  if (type === 'symlink') return posix.join(posix.dirname(path), linkname);
  return type === 'link' ? posix.normalize(linkname) : undefined;
}

const [gzipMagic, zstdMagic] = [Buffer.of(0x1f, 0x8b), Buffer.of(0x28, 0xb5, 0x2f, 0xfd)];

async function readMember(entry: AsyncIterable<unknown>, keeps: boolean): Promise<Member> {
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  let bytes = 0;
  let start = Buffer.alloc(0);
  let unpacking: Unpacking | undefined;
  for await (const piece of entry) {
    if (!(piece instanceof Uint8Array)) throw new TypeError('a tar archive is bytes');
    const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    hash.update(chunk);
    if (start.length < zstdMagic.length) start = Buffer.concat([start, chunk.subarray(0, zstdMagic.length)]);
    if (bytes === 0 && start.subarray(0, 2).equals(gzipMagic)) unpacking = unpack();
    if (keeps) kept.push(chunk);
    bytes += chunk.length;
    await unpacking?.write(chunk);
  }
  const mayBeJson = keeps && (start[0] === 0x7b || start[0] === 0x5b);
  return {
    sha256: hash.digest('hex'),
    unpackedSha256: (await unpacking?.end()) ?? null,
    json: mayBeJson ? Buffer.concat(kept) : null,
    isZstd: start.subarray(0, zstdMagic.length).equals(zstdMagic),
  };
}

interface Unpacking {
  write(chunk: Buffer): Promise<void>;
  /** @returns undefined where it is not gzip all the way. */
  end(): Promise<string | undefined>;
}

function unpack(): Unpacking {
  const gunzip = createGunzip();
  const hash: Hash = createHash('sha256');
  const hashing = (async () => {
    for await (const chunk of gunzip) hash.update(chunk);
    return hash.digest('hex');
  })().catch(() => undefined);
  return {
    write: async (chunk) => {
      if (gunzip.destroyed || gunzip.write(chunk)) return;
      await Promise.race([new Promise((resolve) => gunzip.once('drain', resolve)), hashing]);
    },
    end: () => {
      gunzip.end();
      return hashing;
    },
  };
}

function imageOf(archive: Archive, name: string): Omit<Artifact, 'bytes'> {
  const list = archive.members.get('manifest.json');
  if (list === undefined)
    throw isPartOfImage(archive) ? wrong(name, 'is damaged: it has no manifest.json') : new NotAnImage(name);
  const images = parsed(list, savedImages, name, 'manifest.json');
  const [image] = images;
  if (image === undefined || images.length > 1) {
    const tags = images.flatMap(({ RepoTags }) => RepoTags ?? []).slice(0, maxTagsNamed);
    const which = tags.length === 0 ? '' : ` (${tags.join(', ')})`;
    throw wrong(name, `holds ${images.length} images${which}: save one image at a time, by one of its tags`);
  }
  const config = memberAt(archive, image.Config, name);
  if (!image.Config.includes(config.sha256)) throw wrong(name, `is damaged: ${image.Config} is not what its name says`);
  const { rootfs } = parsed(config, imageConfig, name, image.Config);
  if (rootfs.diff_ids.length !== image.Layers.length)
    throw wrong(name, `is damaged: ${image.Layers.length} layers, and ${rootfs.diff_ids.length} in its configuration`);
  image.Layers.forEach((layer, at) => {
    requireLayer(memberAt(archive, layer, name), layer, { name, id: rootfs.diff_ids[at] ?? '' });
  });
  return { kind: 'image', sha256: config.sha256, parts: image.Layers.length, tags: image.RepoTags ?? [] };
}

/** Cut off between two members, an archive is as good as any other. */
function isPartOfImage({ members }: Archive): boolean {
  return [...members.keys()].some((path) => /^blobs\/sha256\/|\/layer\.tar$|^[0-9a-f]{64}\.json$/.test(path));
}

const maxTagsNamed = 10;

function requireLayer(
  member: Member,
  layer: string,
  { name, id }: { readonly name: string; readonly id: string },
): void {
  if (member.isZstd)
    throw wrong(
      name,
      `has a layer compressed by zstd (${layer}), whose content cannot be checked: load it into an engine and save it again`,
    );
  if (id !== `sha256:${member.unpackedSha256 ?? member.sha256}`)
    throw wrong(name, `is damaged: ${layer} is not the layer that the image's configuration names`);
}

const maxLinks = 8;

function memberAt({ members, links }: Archive, path: string, name: string): Member {
  let at = posix.normalize(path);
  for (let link = links.get(at), followed = 0; link !== undefined && followed < maxLinks; followed++) {
    at = link;
    link = links.get(at);
  }
  const member = members.get(at);
  if (member === undefined) throw wrong(name, `is damaged: it has no ${path}`);
  return member;
}

function parsed<T>(member: Member, schema: z.ZodType<T>, name: string, path: string): T {
  try {
    return schema.parse(JSON.parse(member.json?.toString('utf8') ?? ''));
  } catch (cause) {
    throw wrong(name, `is damaged: ${path} is not what it should be`, cause);
  }
}

function reasonOf(thrown: unknown): string {
  return errnoOf(thrown) ?? (thrown instanceof Error ? thrown.message : String(thrown));
}

function wrong(name: string, what: string, cause?: unknown): AppError {
  return new AppError('validation.request', `${name} ${what}`, cause === undefined ? {} : { cause });
}
