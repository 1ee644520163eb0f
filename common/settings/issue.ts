import { AppError } from '../errors.ts';

/** One wrong setting, complete enough to be corrected without opening a manual. Never holds a secret. */
export interface SettingIssue {
  /** Dotted key, e.g. `scan.intervalMs`. */
  readonly key: string;
  /** The offending value as JSON, secrets masked; undefined when nothing was given. */
  readonly value?: string | undefined;
  /** Environment variable, `file:line:column`, or where the value could have come from. */
  readonly source: string;
  /** What is wrong, continuing the sentence "value from source ...". */
  readonly problem: string;
  /** What would be right. */
  readonly accepted: string;
}

/** All issues as one `validation.config` error: one line each, the same facts under `details.issues`. */
export function settingsError(issues: readonly SettingIssue[]): AppError {
  const count = issues.length === 1 ? '1 setting is wrong' : `${issues.length} settings are wrong`;
  const lines = issues.map((issue) => `  ${issueLine(issue)}`);
  return new AppError('validation.config', `${count}:\n${lines.join('\n')}`, { details: { issues } });
}

function issueLine({ key, value, source, problem, accepted }: SettingIssue): string {
  const subject = value === undefined ? source : `${value} from ${source}`;
  return `${key}: ${subject} ${problem}; accepted: ${accepted}`;
}
