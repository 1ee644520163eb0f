import { readFile } from 'node:fs/promises';
import { AppError, errnoOf } from '../../common/errors.ts';

/**
 * The authorities that the collector is checked by, as PEM; undefined for those of the system.
 * @throws AppError `validation.config`.
 */
export async function readAuthorities(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError(
      'validation.config',
      `collector.caFile names ${path}, which cannot be read (${errnoOf(cause)})`,
      {
        cause,
      },
    );
  });
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new AppError('validation.config', `collector.caFile names ${path}, in which there is no certificate in PEM`);
}
