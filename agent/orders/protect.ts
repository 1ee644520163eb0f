import pLimit from 'p-limit';
import { z } from 'zod';
import type { Clock } from '../../common/clock.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import type { Drift } from '../../common/drift.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { EngineControl } from '../docker/control.ts';
import type { Journal } from '../ports.ts';
import { goodRepository, goodTag } from './good-tag.ts';

const imageId = /^sha256:[0-9a-f]{64}$/;

export interface GoodImagesOptions {
  readonly control: Pick<EngineControl, 'tagImage' | 'untag'>;
  readonly journal: Journal;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

/** What was wanted and seen at one moment. */
export interface SeenNow {
  readonly wanted: readonly DesiredContainer[];
  readonly observed: Iterable<ObservedContainer>;
  /** All that stand. */
  readonly drifts: Iterable<Pick<Drift, 'container'>>;
}

/**
 * Keeps the images that wanted containers ran as wanted with, so that a restore or rollback finds them: an image whose name has moved on
 * to a newer build has none any more, and goes with the next `docker image prune`.
 *
 * Crash points: an image is on record before it is tagged, and stays so until its tag is gone; so no tag is ever forgotten.
 */
export interface GoodImages {
  /**
   * Tags what has proved itself, and lets go of what came before the last few of a container.
   * @throws AppError `outbox.*`; what the engine refuses is logged once, and tried again the next time.
   */
  keep(seen: SeenNow): Promise<void>;
}

/** What is remembered of one container's name. */
const goodRecord = z.strictObject({
  /** Ids, the newest last. */
  images: z.array(z.string().regex(imageId)).readonly(),
  /** When it was wanted last, give or take a day; Unix milliseconds. */
  wantedMs: z.number(),
});
type GoodRecord = z.infer<typeof goodRecord>;

const prefix = 'good/';
const dayMs = 86_400_000;

/** The tags at the engine, as far as this run has made them. */
function goodTags({ control, logger }: Pick<GoodImagesOptions, 'control' | 'logger'>) {
  const tagged = new Set<string>();
  const complained = new Set<string>();

  /** Whether the engine did it. */
  async function asked(id: string, call: (tag: string) => Promise<unknown>): Promise<boolean> {
    const tag = goodTag(id);
    if (tag === undefined) return true;
    try {
      await call(tag);
      return true;
    } catch (thrown) {
      const { code, message }: AppError = toAppError(thrown);
      if (!complained.has(id)) logger.warn('image.not_kept', { imageId: id, code, message });
      complained.add(id);
      return false;
    }
  }

  return {
    tag: async (id: string): Promise<void> => {
      if (tagged.has(id)) return;
      if (await asked(id, (name) => control.tagImage(id, goodRepository, name))) tagged.add(id);
    },
    untag: async (id: string): Promise<boolean> => {
      const isGone = await asked(id, (name) => control.untag(`${goodRepository}:${name}`));
      if (isGone) tagged.delete(id);
      return isGone;
    },
  };
}

export function createGoodImages({ control, journal, clock, logger }: GoodImagesOptions): GoodImages {
  const oneAtATime = pLimit(1);
  let records: Map<string, GoodRecord> | undefined;
  const tags = goodTags({ control, logger });

  async function read(): Promise<Map<string, GoodRecord>> {
    const state = await journal.state(prefix);
    const entries = [...state].flatMap(([key, value]): [string, GoodRecord][] => {
      const parsed = goodRecord.safeParse(value);
      return parsed.success ? [[key.slice(prefix.length), parsed.data]] : [];
    });
    return new Map(entries);
  }

  async function write(all: Map<string, GoodRecord>, name: string, record: GoodRecord | undefined): Promise<void> {
    await journal.append([], [{ key: `${prefix}${name}`, value: record }]);
    if (record === undefined) all.delete(name);
    else all.set(name, record);
  }

  /** The images of a record that are left once the tags of `old` are gone, as far as no other container needs them. */
  async function letGo(all: Map<string, GoodRecord>, name: string, old: readonly string[]): Promise<readonly string[]> {
    const others = [...all].flatMap(([other, { images }]) => (other === name ? [] : images));
    const left: string[] = [];
    for (const id of old.filter((one) => !others.includes(one))) {
      if (!(await tags.untag(id))) left.push(id);
    }
    return left;
  }

  async function keepOne(all: Map<string, GoodRecord>, name: string, id: string | undefined): Promise<void> {
    const nowMs = clock.now();
    const { images, wantedMs } = all.get(name) ?? { images: [], wantedMs: 0 };
    const isNew = id !== undefined && images.at(-1) !== id;
    let next = isNew ? [...images.filter((one) => one !== id), id] : images;
    if (isNew || (images.length > 0 && nowMs - wantedMs > dayMs))
      await write(all, name, { images: next, wantedMs: nowMs });
    // All of them, since whoever was to do it before may have been stopped.
    for (const one of next.slice(-limits.goodImagesPerContainer)) await tags.tag(one);
    const excess = next.slice(0, -limits.goodImagesPerContainer);
    if (excess.length === 0) return;
    const left = await letGo(all, name, excess);
    if (left.length === excess.length) return;
    next = [...left, ...next.slice(-limits.goodImagesPerContainer)];
    await write(all, name, { images: next, wantedMs: nowMs });
  }

  async function keepAll({ wanted, observed, drifts }: SeenNow): Promise<void> {
    records ??= await read();
    const drifting = new Set([...drifts].map(({ container }) => container));
    const running = new Map([...observed].filter(works).map((container) => [container.name, container]));
    for (const { name } of wanted) {
      const its = drifting.has(clip(name)) ? undefined : running.get(name)?.imageId;
      await keepOne(records, name, its !== undefined && imageId.test(its) ? its : undefined);
    }
    const names = new Set(wanted.map(({ name }) => name));
    for (const [name, { images, wantedMs }] of [...records]) {
      // A commit that lost a container may be taken back.
      if (names.has(name) || clock.now() - wantedMs < limits.goodImagesUnwantedMs) continue;
      const left = await letGo(records, name, images);
      if (left.length < images.length)
        await write(records, name, left.length > 0 ? { images: left, wantedMs } : undefined);
    }
  }

  return { keep: (seen) => oneAtATime(() => keepAll(seen)) };
}

function works({ state, health }: ObservedContainer): boolean {
  return state === 'running' && (health === 'none' || health === 'healthy');
}
