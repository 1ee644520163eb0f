/** How the version of an agent stands to that of its collector. */
export const skews = ['same', 'close', 'agent_older', 'agent_newer', 'unknown'] as const;
export type Skew = (typeof skews)[number];

/**
 * A collector takes agents of its own minor version and of the one before it; the collector is upgraded first. Versions are
 * `major.minor.patch`, with or without something behind a hyphen.
 */
export function versionSkew(agent: string, collector: string): Skew {
  if (agent === collector) return 'same';
  const [a, c] = [parts(agent), parts(collector)];
  if (a === undefined || c === undefined) return 'unknown';
  if (a.major !== c.major) return a.major < c.major ? 'agent_older' : 'agent_newer';
  if (a.minor > c.minor) return 'agent_newer';
  return c.minor - a.minor > 1 ? 'agent_older' : 'close';
}

function parts(version: string): { readonly major: number; readonly minor: number } | undefined {
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})\.\d{1,6}(-[\w.]+)?$/.exec(version) ?? [];
  return major === undefined || minor === undefined ? undefined : { major: Number(major), minor: Number(minor) };
}
