import { access, constants, mkdir } from 'node:fs/promises';
import type { CommandLine } from './command-line.ts';
import { PackagingError } from './failure.ts';

/** Looks at what is needed at the end only, minutes later. @throws PackagingError with the option and the reason */
export async function requirePlaces({ out, key }: Pick<CommandLine, 'out' | 'key'>): Promise<void> {
  await mkdir(out, { recursive: true })
    .then(() => access(out, constants.W_OK))
    .catch(refuse('--out'));
  if (key !== undefined) await access(key, constants.R_OK).catch(refuse('--key'));
}

function refuse(option: string): (cause: unknown) => never {
  return (cause) => {
    throw new PackagingError(`${option}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  };
}
