/*
 * Every alert there is. A new one is a line here, a page `docs/runbook/<name>.md`, and a row in the index there and in `docs/alerts.md`; a test holds them
 * together. Whoever makes a key declares it as an `AlertKey`, so one that begins with no name of the list does not compile.
 */

/** What each alert is called, by its name: what its keys begin with. */
const titles = {
  'enforcement.frozen': 'A commit is frozen',
  'enforcement.daily_limit': 'The daily limit holds up answers',
  'enforcement.exhausted': 'Orders came to nothing too often',
  'sigils.findings': 'Findings in a sigil store',
  'sigils.unreadable': 'A sigil store cannot be checked',
  'node.silent': 'A node is not heard',
  'engine.down': 'A container engine does not answer',
  'clock.suspect': 'A clock is in doubt',
} as const;

export type AlertName = keyof typeof titles;

/** What names one condition: `node.silent/node1`. */
export type AlertKey = `${AlertName}/${string}`;

/** What an alert is called, and where the page is that says what to do about it. */
export interface Runbook {
  readonly title: string;
  /** Its URL where the settings say under which the pages are; else its path in the project. */
  readonly place: string;
  readonly isLink: boolean;
}

export const alertNames: readonly string[] = Object.keys(titles);

/**
 * Null for a key that begins with the name of no alert: that of a test, or one that a newer collector has put on record.
 * @param baseUrl under which the pages are, such as `https://wiki.example.org/runbook`; undefined when they are only in the project.
 */
export function runbookOf(key: string, baseUrl: string | undefined): Runbook | null {
  const [name = ''] = key.split('/', 1);
  if (!isAlertName(name)) return null;
  const folder = baseUrl?.replace(/\/+$/, '') ?? 'docs/runbook';
  return { title: titles[name], place: `${folder}/${name}.md`, isLink: baseUrl !== undefined };
}

function isAlertName(name: string): name is AlertName {
  return Object.hasOwn(titles, name);
}
