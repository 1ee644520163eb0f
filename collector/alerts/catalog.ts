/*
 * Every alert there is. A new one is a line here, a page `docs/runbook/<name>.md`, and a row in the index there and in `docs/alerts.md`; a test holds them
 * together. Whoever makes a key declares it as an `AlertKey`, so one that begins with no name of the list does not compile.
 */

import type { Severity } from './alert.ts';

interface KnownAlert {
  readonly title: string;
  /** What it is raised with, the worst last. */
  readonly severities: readonly Severity[];
}

/** By name: what the keys of an alert begin with, up to the slash. A rule of `rules/` for each, and one alert of the rules themselves. */
const raisedByRules = {
  'sigils.findings': { title: 'Findings in a sigil store', severities: ['critical'] },
  'sigils.unreadable': { title: 'A sigil store cannot be checked', severities: ['error'] },
  'node.silent': { title: 'A node is not heard', severities: ['error'] },
  'engine.down': { title: 'A container engine does not answer', severities: ['error'] },
  'clock.suspect': { title: 'A clock is in doubt', severities: ['warning'] },
  'drift.unauthorized': { title: 'Containers run that are not in the manifest', severities: ['critical'] },
  'drift.missing': { title: 'Containers of the manifest do not run', severities: ['error'] },
  'drift.image': { title: 'Containers run another image', severities: ['error'] },
  'drift.config': { title: 'Containers are configured otherwise', severities: ['warning'] },
  'coverage.lost': { title: 'A node was not watched', severities: ['warning', 'error'] },
  'witness.fork': { title: 'A node was shown a forked ledger', severities: ['critical'] },
  'ledger.equivocation': { title: 'The key of a node is used twice', severities: ['critical'] },
  'witness.behind': { title: 'Witnesses are behind', severities: ['error'] },
  'enforcement.failed': { title: 'Orders came to nothing', severities: ['error'] },
  'enforcement.waiting': { title: 'Orders wait for approvals', severities: ['warning'] },
  'integrity.overdue': { title: 'An integrity run is overdue', severities: ['warning'] },
  'ledger.overdue': { title: 'A check of the ledger is overdue', severities: ['error'] },
  'integrity.unchecked': { title: 'An integrity run could not check everything', severities: ['warning'] },
  'alerts.rule_failed': { title: 'A rule of the alerts cannot judge', severities: ['error'] },
  'notifications.dead': { title: 'Notifications were given up', severities: ['error'] },
  'jobs.dead_letters': { title: 'Enforcements of artifacts failed for good', severities: ['error'] },
  'disk.low': { title: 'A disk is filling up', severities: ['warning', 'error'] },
} as const satisfies Readonly<Record<string, KnownAlert>>;

/** By the planner of orders, and by checks of the ledger. */
const raisedElsewhere = {
  'enforcement.frozen': { title: 'A commit is frozen', severities: ['critical'] },
  'enforcement.daily_limit': { title: 'The daily limit holds up answers', severities: ['error'] },
  'enforcement.exhausted': { title: 'Orders came to nothing too often', severities: ['error'] },
  'ledger.integrity': { title: 'The ledger failed its check', severities: ['error', 'critical'] },
} as const satisfies Readonly<Record<string, KnownAlert>>;

const alerts = { ...raisedElsewhere, ...raisedByRules };

export type AlertName = keyof typeof alerts;
export type RuleName = keyof typeof raisedByRules;

/** What names one condition: `node.silent/node1`. */
export type AlertKey = `${AlertName}/${string}`;

/** What an alert is called, and where the page is that says what to do about it. */
export interface Runbook {
  readonly title: string;
  /** Its URL where the settings say under which the pages are; else its path in the project. */
  readonly place: string;
  readonly isLink: boolean;
}

export const alertNames: readonly string[] = Object.keys(alerts);

/** Of rules, as settings name them. */
export const ruleNames: readonly string[] = Object.keys(raisedByRules);

/** The name that a key begins with. */
export function alertNameOf(key: string): string {
  const end = key.indexOf('/');
  return end === -1 ? key : key.slice(0, end);
}

/** Of an alert of that name, the worst last. */
export function severitiesOf(name: string): readonly Severity[] {
  return isAlertName(name) ? alerts[name].severities : [];
}

/**
 * Null for a key that begins with the name of no alert: that of a test, or one that a newer collector has put on record.
 * @param baseUrl under which the pages are, such as `https://wiki.example.org/runbook`; undefined when they are only in the project.
 */
export function runbookOf(key: string, baseUrl: string | undefined): Runbook | null {
  const name = alertNameOf(key);
  if (!isAlertName(name)) return null;
  const folder = baseUrl?.replace(/\/+$/, '') ?? 'docs/runbook';
  return { title: alerts[name].title, place: `${folder}/${name}.md`, isLink: baseUrl !== undefined };
}

function isAlertName(name: string): name is AlertName {
  return Object.hasOwn(alerts, name);
}
