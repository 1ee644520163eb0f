import pLimit from 'p-limit';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { parseNote } from '../../common/note.ts';
import type { Link } from '../link/link.ts';
import { tidyImages } from './kept-images.ts';
import { bridgeFrom } from './replay.ts';
import { dropReturn, readReturn, waitingReturn } from './returned.ts';
import { type CarriedReceiver, handOn, rehearse, type Taken, type TakeOptions, takeIn } from './take.ts';

export interface CarriedDeskOptions extends TakeOptions {
  readonly dataDir: string;
  readonly imagesDir: string;
  readonly link: Pick<Link, 'carry'>;
  readonly receiver: CarriedReceiver;
  readonly logger: Logger;
  /** Whether the engine lacks no image that is wanted here. Never rejects. */
  readonly isAllThere: () => Promise<boolean>;
}

/** Where the running agent takes in return bundles that were brought into its data directory, one at a time. */
export interface CarriedDesk {
  /**
   * Takes in the one that waits; resolves when all of it has had its effect.
   * @throws AppError `resource.not_found` when none waits; as `rehearse`. One that is refused waits no longer; what could not be done
   *   now, since the disk is full, is tried again with the next start.
   */
  take(): Promise<Taken>;
  /** What a run before has left. Never rejects. */
  takeWaiting(): Promise<void>;
  /** Removes images that bundles brought and that are not needed any more. Never rejects. */
  tidy(): Promise<void>;
}

export function createCarriedDesk(options: CarriedDeskOptions): CarriedDesk {
  const { dataDir, imagesDir, clock, logger, isAllThere } = options;
  const oneAtATime = pLimit(1);
  const tidy = async () => tidyImages(imagesDir, { nowMs: clock.now(), isAllThere: await isAllThere(), logger });
  const take = async (): Promise<Taken> => {
    const folder = await waitingReturn(dataDir);
    if (folder === undefined) throw new AppError('resource.not_found', 'no return bundle waits');
    try {
      const taken = await takeFrom(folder, options);
      await dropReturn(dataDir);
      logger.info('bundle.taken', { ...taken });
      return taken;
    } catch (thrown) {
      const error = toAppError(thrown);
      logger.warn('bundle.refused', { code: error.code, message: error.message });
      if (!error.retryable) await dropReturn(dataDir);
      throw error;
    }
  };
  return {
    take: () => oneAtATime(take),
    takeWaiting: () =>
      oneAtATime(async () => {
        if ((await waitingReturn(dataDir)) !== undefined) await take();
      }).catch(() => {}),
    tidy: () => oneAtATime(tidy),
  };
}

async function takeFrom(folder: string, options: CarriedDeskOptions): Promise<Taken> {
  const { link, outbox, logKey, receiver } = options;
  // One that is too old is no reason to end a connection.
  const heldNote = outbox.checkpoint();
  const heldSize = heldNote === undefined ? 0 : parseCheckpoint(parseNote(heldNote).text).size;
  bridgeFrom(heldSize, { manifest: await readReturn(folder, options), logKey });
  const { carried, taken } = await link.carry(async (witness) => {
    const manifest = await rehearse(folder, options);
    return takeIn(folder, manifest, { ...options, witness });
  });
  await handOn(carried, receiver);
  return taken;
}
