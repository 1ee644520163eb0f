import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Arch, arches, isArch } from './arch.ts';

export interface CommandLine {
  readonly arches: readonly Arch[];
  readonly out: string;
  /** A private SSH key, or the public one of a key that an agent holds. */
  readonly key: string | undefined;
}

export const usage = `usage: ./scripts/package [--arch x64|arm64|all] [--out DIR] [--key SSH_KEY]

  --arch NAME    machines to make packages for; by default all of them
  --out DIR      where to put them (by default dist/packages); what is not replaced stays
  --key SSH_KEY  sign SHA256SUMS with this key; a path to it, or to its public half when ssh-agent holds it
`;

/** Undefined for a command line that makes no sense. Relative paths are those of `from`. */
export function readCommandLine(args: readonly string[], from: string): CommandLine | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { arch: { type: 'string' }, out: { type: 'string' }, key: { type: 'string' } },
    });
    const { arch = 'all', out = 'dist/packages', key } = values;
    if (arch !== 'all' && !isArch(arch)) return undefined;
    return {
      arches: arch === 'all' ? arches : [arch],
      out: values.out === undefined ? resolve(out) : resolve(from, out),
      key: key === undefined ? undefined : resolve(from, key),
    };
  } catch {
    return undefined;
  }
}
