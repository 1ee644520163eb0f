import { z } from 'zod';

/** What stands on a machine before anything is done there. */
export interface Facts {
  /** As `uname -s -m` says it. */
  readonly machine: string;
  readonly version: string | undefined;
  /** SHA-256 of what is installed, and of the settings. */
  readonly manifest: string | undefined;
  readonly settings: string | undefined;
  /** What starts and stops programs there. */
  readonly manager: 'systemd' | 'program' | 'none';
  readonly active: boolean;
  readonly deb: boolean;
  /** A run before this one was ended in the middle: what it installed may be there in part. */
  readonly unfinished: boolean;
  /** The program has run here before, and written to its data directory. */
  readonly begun: boolean;
  /** Name of the node and address of its collector, where it is enrolled. */
  readonly enrolment: { readonly node: string; readonly url: string } | undefined;
}

const text = z.string().transform((value) => (value === '' ? undefined : value));
const flag = z.string().transform((value) => value === 'yes');
const enrolment = z.object({ node: z.string(), url: z.string() });

const facts = z.object({
  ...{ machine: z.string(), version: text, manifest: text, settings: text },
  manager: z.enum(['systemd', 'program', 'none']),
  ...{ active: flag, deb: flag, unfinished: flag, begun: flag },
  enrolment: z.string().transform((value) => (value === '' ? undefined : enrolment.parse(JSON.parse(value)))),
});

/** Of the lines that `shell/facts.sh` writes. @throws what zod throws */
export function readFacts(lines: string): Facts {
  const pairs = lines
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
  return facts.parse(Object.fromEntries(pairs));
}
