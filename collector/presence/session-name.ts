import { hash } from 'node:crypto';
import { canonicalBytes } from '../../common/canonical.ts';
import { version } from '../../common/version.ts';
import type { CollectorSettings } from '../config.ts';
import { applicationName } from '../database.ts';

/*
 * One session of every running collector has a name that tells its version and what it was set to, so that whoever looks at
 * the database's sessions finds collectors that should agree and do not. It is no secret and proves nothing.
 */

const digestChars = 8;

/** What every such name begins with. */
export const presencePrefix = `${applicationName} `;

/** Version and digest, as a session tells them. */
export interface Presence {
  readonly version: string;
  readonly digest: string;
}

/** PostgreSQL cuts names after 63 bytes. */
export function presenceName(settings: CollectorSettings): string {
  return `${presencePrefix}${version} ${settingsDigest(settings)}`;
}

/** Undefined for what is no such name. */
export function readPresence(name: string): Presence | undefined {
  const [, said = '', digest = ''] = /^sigilwatch-collector (\S{1,30}) ([0-9a-f]{8})$/.exec(name) ?? [];
  return digest === '' ? undefined : { version: said, digest };
}

/** Of the settings in which all collectors on one database should agree. None of them is secret. */
export function settingsDigest(settings: CollectorSettings): string {
  const { ledger, fleet, auth, alerts, artifacts, budgets, integrity } = settings;
  const { origin, retentionDays = null } = ledger;
  const { rules, groupMs, repeatMs, attempts } = alerts;
  const agreed = {
    ledger: { origin, retentionDays, public: ledger.public },
    alerts: { rules, groupMs, repeatMs, attempts },
    ...{ fleet, auth, artifacts, budgets, integrity },
  };
  // What is not set is not there in JSON.
  return hash('sha256', canonicalBytes(JSON.parse(JSON.stringify(agreed))), 'hex').slice(0, digestChars);
}
