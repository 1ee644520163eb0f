import { amount } from './amount.ts';
import { toAppError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { printable } from './printable.ts';

/*
 * What `doctor` of both programs is made of: checks that each say in one line what was found, and for what is wrong what to
 * do about it. Looking is the programs' own.
 */

/** `not_checked` where a check had to wait for another one, or there is nothing that it could be made of. */
export type CheckState = 'ok' | 'wrong' | 'not_checked';

/** One thing a program needs, and whether it is there. */
export interface Check {
  /** What it belongs to: `machine`, `database`. */
  readonly group: string;
  /** Unique within its group. */
  readonly name: string;
  readonly state: CheckState;
  /** What was found; what is wrong; or why nobody looked. */
  readonly detail: string;
  /** A command or an edit; never null for what is wrong, null for what is in order. */
  readonly fix: string | null;
}

/** A check still to be made. */
export interface Plan {
  readonly name: string;
  /** What helps against failures that do not say it themselves. */
  readonly fix: string;
  /** @returns what was found. Rejects with `NotChecked`, `Wrong`, or an `AppError` with what is wrong. */
  readonly look: () => Promise<string>;
}

/** Nobody could look. Of itself that is no trouble: what it waited for is. */
export class NotChecked extends Error {
  readonly fix: string | null;

  constructor(reason: string, fix: string | null = null) {
    super(reason);
    this.fix = fix;
  }
}

/** Something is wrong, and what helps depends on how. */
export class Wrong extends Error {
  readonly fix: string;

  constructor(reason: string, fix: string) {
    super(reason);
    this.fix = fix;
  }
}

/** Makes all checks of a group, at once; the answers have their order. */
export function checkAll(group: string, plans: readonly Plan[]): Promise<Check[]> {
  return Promise.all(plans.map((plan) => made(group, plan)));
}

async function made(group: string, { name, fix, look }: Plan): Promise<Check> {
  try {
    return { group, name, state: 'ok', detail: await look(), fix: null };
  } catch (thrown) {
    if (thrown instanceof NotChecked) {
      return { group, name, state: 'not_checked', detail: thrown.message, fix: thrown.fix };
    }
    if (thrown instanceof Wrong) return { group, name, state: 'wrong', detail: thrown.message, fix: thrown.fix };
    return { group, name, state: 'wrong', detail: toAppError(thrown).message, fix };
  }
}

/** `findings` when something is wrong. What was not checked has a reason that is wrong, or was not asked for. */
export function checksExitCode(checks: readonly Check[]): number {
  return checks.some(({ state }) => state === 'wrong') ? exitCodes.findings : exitCodes.done;
}

const signs: Readonly<Record<CheckState, string>> = { ok: '✓', wrong: '✗', not_checked: '-' };

/** The checks for a person, by group, and how many are not in order. Foreign text in them does nothing but stand there. */
export function formatChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const groups = [...new Set(checks.map(({ group }) => group))];
  const lines = groups.flatMap((group) => [
    group,
    ...checks.filter((check) => check.group === group).flatMap((check) => checkLines(check, width)),
    '',
  ]);
  return `${lines.join('\n')}\n${summary(checks)}\n`;
}

function checkLines({ name, state, detail, fix }: Check, width: number): string[] {
  // Whom it waited for stands in the same list.
  const seen = fix?.startsWith('see ') === true && state === 'not_checked';
  const told = state === 'not_checked' ? `not checked: ${detail}${seen ? ` (${fix})` : ''}` : detail;
  const [first = '', ...more] = told.split('\n').map(printable);
  const margin = `    ${''.padEnd(width)}  `;
  return [
    `  ${signs[state]} ${printable(name).padEnd(width)}  ${first}`,
    ...more.map((line) => `${margin}${line}`),
    ...(fix === null || seen ? [] : [`${margin}fix: ${printable(fix)}`]),
  ];
}

function summary(checks: readonly Check[]): string {
  const count = (wanted: CheckState) => checks.filter(({ state }) => state === wanted).length;
  const [wrong, notChecked] = [count('wrong'), count('not_checked')];
  const counted = [
    amount(count('ok'), 'check in order', 'checks in order'),
    wrong === 0 ? 'nothing wrong' : `${wrong} wrong`,
    ...(notChecked === 0 ? [] : [`${notChecked} not checked`]),
  ];
  return counted.join(', ');
}
