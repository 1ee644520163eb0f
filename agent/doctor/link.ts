import { NotChecked, Wrong } from '../../common/checkup.ts';
import { limits } from '../../common/limits.ts';
import type { LinkStatus } from '../link/status.ts';
import { enrolCommand } from './own-data-dir.ts';

/** What is looked at. An agent of an earlier version gives no reasons. */
export interface LinkSaid extends Pick<LinkStatus, 'state' | 'lastError'> {
  readonly clockOffsetMs?: number | undefined;
}

/**
 * Whether the agent is connected, in words.
 * @throws Wrong with why not, and what helps against that; NotChecked after a fork, which is a finding of its own.
 */
export function describeLink({ state, lastError, clockOffsetMs }: LinkSaid): string {
  if (state === 'connected') return `connected${clockText(clockOffsetMs)}`;
  if (state === 'forked') throw new NotChecked('nothing is sent after a fork', 'see witness');
  if (lastError === undefined) throw new Wrong(state, generalFix);
  throw new Wrong(`${state}: ${lastError.message}`, fixOf(lastError));
}

function clockText(offsetMs: number | undefined): string {
  if (offsetMs === undefined || Math.abs(offsetMs) <= limits.clockSuspectMs) return '';
  return `; the collector's clock is ${Math.round(offsetMs / 1000)} s away`;
}

const generalFix = 'see what the lines of "collector" say, and: sigilwatch-agent status';
const newKeyFix =
  'sigilwatch-collector nodes token NODE on the collector, then here as docs/backup.md has it: ' +
  'systemctl stop sigilwatch-agent, move outbox away, sigilwatch-agent enroll --force --collector URL --token TOKEN --node NODE';
const sharedKeyFix =
  'stop the other agent that has the key of this node, or enrol one of the two anew (docs/backup.md)';
const skewFix = 'install the version that it names; the collector goes first (docs/upgrades.md)';

/** What helps against each refusal of a collector, by its code. */
const againstRefusals: ReadonlyMap<string, string> = new Map([
  ['auth.revoked', newKeyFix],
  // The log is the one that was pinned: it is the key that it does not know, or does not know any more.
  ['auth.signature', newKeyFix],
  ['auth.required', 'see clock and disk space: this machine took too long to prove its key'],
  ['state.version', skewFix],
  ['validation.protocol', skewFix],
  ['state.conflict', sharedKeyFix],
  ['ledger.sequence', sharedKeyFix],
  ['ledger.equivocation', `${sharedKeyFix}; see docs/runbook/ledger.equivocation.md`],
  ['ledger.tampered', "sigilwatch-collector ledger verify on the collector's host, then docs/recovery.md"],
  ['rate_limit.exceeded', 'wait: it is tried again by itself; if it stays so: docs/hardening.md'],
]);

/** What helps where it is this agent that will not go on, by its code. */
const againstOurs: ReadonlyMap<string, string> = new Map([
  [
    'auth.signature',
    'set collector.url in the settings to the collector that this node was enrolled with, or enrol it with this one: ' +
      `${enrolCommand} --force`,
  ],
  ['ledger.sequence', `${sharedKeyFix}; if there is none: docs/outbox.md`],
  ['ledger.proof', "sigilwatch-collector ledger verify on the collector's host: its proofs prove nothing"],
  ['state.version', skewFix],
  ['validation.protocol', 'install the same version on both sides, the collector first (docs/upgrades.md)'],
  ['outbox.full', 'see disk space and outbox'],
  ['outbox.write_failed', 'see disk space'],
]);

function fixOf({ code, reason }: NonNullable<LinkStatus['lastError']>): string {
  if (code === 'collector.refused') return againstRefusals.get(reason ?? '') ?? generalFix;
  if (code !== 'collector.unreachable') return againstOurs.get(code) ?? generalFix;
  if (reason === 'CERT_NOT_YET_VALID') return clockFix;
  return reason !== undefined && isOfCertificate(reason) ? 'see what the line "certificate" says' : generalFix;
}

/** A certificate that begins tomorrow is rarer than a clock that stands at yesterday. */
export const clockFix = "set this machine's clock: timedatectl set-ntp true, or with chrony: chronyc makestep";

/** By the words of OpenSSL and of Node's TLS for one that is not believed. */
function isOfCertificate(reason: string): boolean {
  return /CERT|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/.test(reason);
}
