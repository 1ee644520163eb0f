import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { writeDurably } from '../data/durable-file.ts';
import { actAsOwner } from '../data/owner.ts';
import { type Enrolled, type EnrolOptions, enrol } from '../enrol.ts';

export interface EnrollOptions extends EnrolOptions {
  /** Where the executor's files go; undefined: there are none. */
  readonly executorDir: string | undefined;
}

/**
 * Enrols this node, and puts down for its executor whose orders count: by the answer that the join token vouches for, and not by
 * anything that the agent could have written.
 *
 * Root acts as the owner of the data directory meanwhile, so that the agent can read what comes of it, and gains nothing by what it
 * has put there.
 * @throws AppError as {@link enrol}; `validation.config` when the executor's files cannot be written.
 */
export async function enroll({ executorDir, ...options }: EnrollOptions): Promise<Enrolled> {
  const goBack = await actAsOwner(options.dataDir);
  const enrolled = await enrol(options).finally(goBack);
  if (executorDir !== undefined) await tellExecutor(executorDir, enrolled);
  return enrolled;
}

/** Both for everybody to read: neither is a secret. */
async function tellExecutor(dir: string, { node, vkey }: Enrolled): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o755 });
    await writeDurably(join(dir, 'collector.vkey'), `${vkey}\n`, 0o644);
    await writeDurably(join(dir, 'executor.env'), `SIGILWATCH_NODE=${node}\n`, 0o644);
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `this node is enrolled, but ${dir} cannot be written (${errnoOf(cause) ?? String(cause)}); run the same command as root`,
      { cause, details: { dir } },
    );
  }
}
