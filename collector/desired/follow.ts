import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import type { CollectorSettings } from '../config.ts';
import { type FollowerOptions, ManifestFollower } from './follower.ts';
import { fsManifestStore } from './fs-manifest-store.ts';
import { gitRepository } from './git.ts';

export interface FollowNeeds {
  readonly record: FollowerOptions['record'];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/** The follower of the repository that the settings name, with what was in force before; undefined when they name none. */
export async function openManifestFollower(
  { manifest, dataDir }: CollectorSettings,
  { record, clock, logger }: FollowNeeds,
): Promise<ManifestFollower | undefined> {
  if (manifest.repository === undefined) return undefined;
  const repository = gitRepository(manifest.repository);
  const follower = new ManifestFollower({
    ...{ repository, store: fsManifestStore(dataDir, logger), record, clock, logger },
  });
  await follower.restore();
  return follower;
}

/** Looks now, and each `limits.manifestPollMs` until the teardown. Never rejects: a look that failed is made again. */
export async function pollManifest(follower: ManifestFollower, { logger, teardown }: FollowNeeds): Promise<void> {
  const look = () =>
    follower.refresh().catch((thrown: unknown) => {
      logger.warn('manifest.not_looked_at', { error: toAppError(thrown) });
    });
  const timer = setInterval(look, limits.manifestPollMs);
  teardown.add('manifest', async () => {
    clearInterval(timer);
    await follower.settled();
  });
  await look();
}
