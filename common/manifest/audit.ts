import { z } from 'zod';
import { flag } from './values.ts';

const trackKey = /^track_[a-z0-9_]{1,64}$/;

/** A section of known keys, and any number of switches whose names begin with `track_`. */
function withTracks<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.looseObject(shape).superRefine(
    (section, context) => {
      for (const [key, value] of Object.entries(section)) {
        if (Object.hasOwn(shape, key)) continue;
        if (!trackKey.test(key)) {
          context.addIssue({ code: 'unrecognized_keys', keys: [key], input: section, message: 'unknown key' });
        } else if (!flag.safeParse(value).success) {
          context.addIssue({ code: 'custom', path: [key], input: value, message: 'expected true or false' });
        }
      }
    },
    // What else is wrong in the section is no reason to keep quiet about this.
    { when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value) },
  );
}

/** The switches of a section that begin with `track_`. */
function tracksOf(section: object): Readonly<Record<string, boolean>> {
  const tracks = Object.entries(section).filter(([key]) => trackKey.test(key));
  return Object.fromEntries(tracks.map(([key, value]) => [key, flag.parse(value)]));
}

/** The manifest's key `audit`; its switches `track_*` are in `tracks`. */
export const audit = withTracks({
  enabled: flag.default(true),
  log_all_events: flag.default(true),
  log_level: z.enum(['debug', 'info', 'warning', 'error']).optional(),
  require_git_approval: flag.default(true),
  require_signed_commits: flag.default(false),
  immutable_ledger: flag.default(true),
}).transform((section) => ({
  enabled: section.enabled,
  log_all_events: section.log_all_events,
  log_level: section.log_level,
  require_git_approval: section.require_git_approval,
  require_signed_commits: section.require_signed_commits,
  immutable_ledger: section.immutable_ledger,
  tracks: tracksOf(section),
}));

/** The manifest's key `provenance`; its switches `track_*` are in `tracks`. */
export const provenance = withTracks({ enabled: flag.default(false) }).transform((section) => ({
  enabled: section.enabled,
  tracks: tracksOf(section),
}));
