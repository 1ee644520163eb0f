import { z } from 'zod';
import { ownText, timestamp } from '../../common/fields.ts';

/** Where a commit came from: the local repository, a bundle of the collector, a bundle that was brought. */
export const origins = ['repository', 'collector', 'stick'] as const;
export type Origin = (typeof origins)[number];

const origin = z.enum(origins);

const inForce = z.strictObject({
  commit: z.string(),
  files: z.record(z.string(), z.string()),
  /** Who signed it, with the fingerprint of the key; null when nobody had to. */
  signer: z.string().nullable().default(null),
  origin: origin.default('repository'),
  /** When it was adopted, by the node's clock. */
  at: timestamp.nullable().default(null),
  /** Why the operator let it in although it is no descendant of the one before. */
  release: ownText.nullable().default(null),
});

const refused = z.strictObject({
  commit: z.string().nullable(),
  origin,
  at: timestamp,
  code: z.string(),
  file: z.string(),
  line: z.int(),
  column: z.int(),
  reason: z.string(),
});

/** What was wrong the last time, by origin, so that it is said once; nothing where the last one was good. */
const told = z.record(z.string(), z.string());

/** The durable record of what is in force and what was refused. */
export const standing = z.strictObject({
  /** Null while there was never a good one. */
  adopted: inForce.nullable(),
  rejected: z.union([
    told,
    // As the first version wrote it, which knew one origin.
    z.string().transform((text): Record<string, string> => ({ repository: text })),
    z.null().transform((): Record<string, string> => ({})),
  ]),
  lastRefused: refused.nullable().default(null),
  /** HEAD of the local repository when it was adopted, or found to lag behind. */
  localHead: z.string().nullable().default(null),
  /** The last release that was made use of. */
  usedRelease: z.string().nullable().default(null),
});

/** What is in force, as it was written. */
export type InForce = z.infer<typeof inForce>;
export type Refused = z.infer<typeof refused>;
export type Standing = z.infer<typeof standing>;

export const nothingStands: Standing = {
  adopted: null,
  rejected: {},
  lastRefused: null,
  localHead: null,
  usedRelease: null,
};

/** The same for people and commands, who cannot look into the journal of a running agent. */
export const shownStanding = z.strictObject({
  adopted: inForce.omit({ files: true }).extend({ requiresSignedCommits: z.boolean() }).nullable(),
  lastRefused: refused.nullable(),
  usedRelease: z.string().nullable(),
});
export type ShownStanding = z.infer<typeof shownStanding>;
