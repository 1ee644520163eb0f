import { isLater } from './data-version.ts';
import { AppError } from './errors.ts';
import { version } from './version.ts';

/*
 * Which protocol an agent and a collector speak is settled as RFC 6455 has it: the agent offers a list of subprotocols, and the
 * collector takes one of them before the first message. A number stands for one set of messages, all members of them included.
 */

/** Protocols that this program speaks, best first. A collector goes on speaking those of the minor version before it. */
export const spokenProtocols: readonly number[] = [1];

/** HTTP header of the collector's answer to an upgrade: its version. Nothing is believed because of it; it is for people. */
export const versionHeader = 'sigilwatch-version';

/** Subprotocol of a protocol's number. */
export function protocolName(number: number): string {
  return `sigilwatch.v${number}`;
}

/** The protocol to speak with somebody who offers these subprotocols: the best of ours; undefined when there is none in common. */
export function chosenProtocol(offered: readonly string[], spoken = spokenProtocols): number | undefined {
  return spoken.find((number) => offered.includes(protocolName(number)));
}

export interface Mismatch {
  /** Of the collector. */
  readonly spoken: readonly number[];
  readonly version: string;
}

/**
 * Why the collector turns away somebody it has no protocol in common with, and which side is to be upgraded.
 * @returns `state.version` for an agent, `validation.protocol` for a client that is none
 */
export function protocolMismatch(offered: readonly string[], ours: Mismatch): AppError {
  const theirs = offered
    .flatMap((name) => /^sigilwatch\.v(\d{1,4})$/.exec(name)?.[1] ?? [])
    .map(Number)
    .slice(0, maxShownProtocols);
  const names = ours.spoken.map(protocolName).join(', ');
  if (theirs.length === 0) {
    return new AppError('validation.protocol', `ask for the subprotocol ${names} (Sec-WebSocket-Protocol)`);
  }
  const newer = Math.min(...theirs) > Math.max(...ours.spoken);
  const remedy = newer
    ? 'upgrade the collector, which goes first'
    : `install version ${ours.version} of the agent there`;
  const said = theirs.map(protocolName).join(', ');
  return new AppError(
    'state.version',
    `the agent speaks ${said}, this collector (${ours.version}) ${names}: ${remedy}. Its entries stay on the node meanwhile`,
    { details: { offered: theirs, spoken: ours.spoken } },
  );
}

/** Whoever offers more is told of these. */
const maxShownProtocols = 8;

/** Who said what cannot be understood, and what their program calls itself. */
export interface Speaker {
  readonly role: 'agent' | 'collector';
  readonly version: string | undefined;
}

/**
 * What is to be said when something of the other side could not be read: where that is a later version, it has learnt something
 * since, and the fault lies with nobody; anything else is passed on as it is.
 * @param running our own version
 */
export function misunderstood(error: AppError, other: Speaker, running = version): AppError {
  if (!error.code.startsWith('validation.') || other.version === undefined) return error;
  if (!isLater(other.version, running)) return error;
  const ours = other.role === 'agent' ? 'collector' : 'agent';
  return new AppError(
    'state.version',
    `the ${other.role} is of version ${other.version} and says what this ${ours} (${running}) does not know: upgrade the ${ours}. ` +
      `Entries stay on the node until then (${error.message})`,
    { cause: error, details: { ...error.details, theirs: other.version, ours: running } },
  );
}

/** The version in a header, fit to be shown; undefined for what is none. */
export function readVersion(said: string | readonly string[] | undefined): string | undefined {
  return typeof said === 'string' && /^\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]{1,40})?$/.test(said) ? said : undefined;
}
