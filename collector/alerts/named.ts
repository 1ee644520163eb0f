import { limits } from '../../common/limits.ts';
import { printable } from '../../common/printable.ts';

const namedAtMost = 10;
/** Whoever names containers must not fill the summary. */
const maxNameChars = 64;

/** The first few of some foreign names, on one line that does nothing but stand there. */
export function named(names: readonly string[], total = names.length): string {
  const shown = names.slice(0, namedAtMost).map((name) => printable(name.slice(0, maxNameChars)));
  return [...shown, ...(total > shown.length ? ['...'] : [])].join(', ');
}

/** A summary or reason that fits into an entry, on one line. */
export function summaryOf(text: string): string {
  return printable(text.slice(0, limits.maxOwnTextChars));
}

/** How many containers, where nobody counts further than `limits.maxAlertedContainers`. */
export function counted(count: number, one: string, many: string): string {
  if (count === 1) return one;
  return count < limits.maxAlertedContainers ? `${count} ${many}` : `${limits.maxAlertedContainers} or more ${many}`;
}
