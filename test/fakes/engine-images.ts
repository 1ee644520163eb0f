import { createHash } from 'node:crypto';
import { z } from 'zod';
import { EngineRefusal } from './engine-refusal.ts';

const texts = z.array(z.string());
const textsByName = z.record(z.string(), z.string());

const fakeImage = z.object({
  id: z.string(),
  Cmd: texts,
  Entrypoint: texts,
  Env: texts,
  Labels: textsByName,
  User: z.string(),
  Volumes: z.record(z.string(), z.object({})),
});

/** What an image brings along. */
export type FakeImage = Readonly<z.output<typeof fakeImage>>;

const archive = z.object({ tags: texts, image: fakeImage });

/** The images of a simulated engine, each under any number of tags. */
export class ImageStore {
  readonly #byTag = new Map<string, FakeImage>();

  /** @param changes `CMD ["a","b"]`, `ENTRYPOINT ["a"]`, `ENV A=b`, `LABEL a=b`, `USER u`, `VOLUME /v`. */
  import(tag: string, changes: readonly string[]): void {
    const said = (instruction: string) =>
      changes
        .filter((change) => change.startsWith(`${instruction} `))
        .map((change) => change.slice(instruction.length + 1));
    const words = (instruction: string) => said(instruction).flatMap((json): string[] => JSON.parse(json));
    this.#byTag.set(withTag(tag), {
      id: `sha256:${createHash('sha256').update(tag).digest('hex')}`,
      Cmd: words('CMD'),
      Entrypoint: words('ENTRYPOINT'),
      Env: said('ENV'),
      Labels: Object.fromEntries(said('LABEL').map((label) => label.split('=', 2))),
      User: said('USER')[0] ?? '',
      Volumes: Object.fromEntries(said('VOLUME').map((path) => [path, {}])),
    });
  }

  /** By tag or id. */
  find(reference: string): FakeImage {
    const byId = [...this.#byTag.values()].find((image) => image.id === reference);
    const found = byId ?? this.#byTag.get(withTag(reference));
    if (found === undefined) throw new EngineRefusal(404, `No such image: ${reference}`);
    return found;
  }

  tag(reference: string, tag: string): void {
    this.#byTag.set(withTag(tag), this.find(reference));
  }

  /** @param inUse whether a container was made of the image with this id, which then keeps its last tag. */
  untag(tag: string, inUse: (id: string) => boolean): void {
    const { id } = this.find(tag);
    const isLast = [...this.#byTag.values()].filter((image) => image.id === id).length === 1;
    if (isLast && inUse(id)) throw new EngineRefusal(409, `conflict: unable to remove repository reference "${tag}"`);
    this.#byTag.delete(withTag(tag));
  }

  save(reference: string): string {
    const image = this.find(reference);
    return JSON.stringify({ tags: [withTag(reference)], image });
  }

  /** @returns why not, when it is no archive of ours. */
  load(written: string): string | undefined {
    const parsed = archive.safeParse(parseJson(written));
    if (!parsed.success) return 'Error processing tar file(exit status 1): unexpected EOF';
    for (const tag of parsed.data.tags) this.#byTag.set(tag, parsed.data.image);
    return undefined;
  }
}

function withTag(reference: string): string {
  return reference.lastIndexOf(':') > reference.lastIndexOf('/') ? reference : `${reference}:latest`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
