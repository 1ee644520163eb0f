import type { AppError, ErrorCode } from './errors.ts';

/** Exit codes of both programs. 0 means done and nothing found; anything else says what kind of trouble it was. */
export const exitCodes = {
  done: 0,
  /** The check ran and found something. */
  findings: 1,
  /** Wrong usage or settings, or the check could not be made. */
  usage: 2,
  /** Not enrolled, not signed in, or a key or token that does not count. */
  auth: 3,
  /** The other side, or the state of things, forbids it; or there was no place to write the result to. */
  refused: 4,
  /** Agent, collector, database or engine do not answer. */
  unreachable: 5,
  /** Stopped on request before it was done; what it had looked at until then is in order. */
  unfinished: 6,
  /** A mistake of ours. */
  internal: 70,
} as const;

/** The exit code for a failed command. */
export function exitCodeOf({ code, details }: AppError): number {
  // A collector that answers 503 is there, but for nothing at this moment.
  if (unreachable.has(code) || details.status === 503) return exitCodes.unreachable;
  const family = code.slice(0, code.indexOf('.'));
  // Known, and not allowed to: signing in once more would not help.
  if (code === 'auth.forbidden') return exitCodes.refused;
  if (family === 'auth') return exitCodes.auth;
  if (family === 'validation' || family === 'resource' || family === 'store') return exitCodes.usage;
  return family === 'internal' ? exitCodes.internal : exitCodes.refused;
}

const unreachable: ReadonlySet<ErrorCode> = new Set([
  'agent.unreachable',
  'channel.unreachable',
  'collector.unreachable',
  'database.unreachable',
  'engine.unreachable',
]);
