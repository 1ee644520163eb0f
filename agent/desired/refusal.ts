import { AppError, type ErrorCode } from '../../common/errors.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';

/**
 * Why a commit is not taken: its files are wrong, it is too large, nobody who may has signed it, it is not a descendant of
 * the one in force, a setting is missing, or commits before it are.
 */
export type RefusalCode =
  | 'validation.manifest'
  | 'validation.too_large'
  | 'auth.signature'
  | 'state.conflict'
  | 'validation.config'
  | 'resource.not_found';

const codes: ReadonlySet<ErrorCode> = new Set<RefusalCode>([
  'validation.manifest',
  'validation.too_large',
  'auth.signature',
  'state.conflict',
  'validation.config',
  'resource.not_found',
]);

/** Whether an error says that a commit is not taken, and not that something here is broken. */
export function isRefusal({ code }: AppError): boolean {
  return codes.has(code);
}

/** The error for a commit that is not taken; `file` is what the reason is about. */
export function refusal(code: RefusalCode, reason: string, file: string = manifestFile, cause?: unknown): AppError {
  return new AppError(code, `${file}: ${reason}`, { cause, details: { file, line: 1, column: 1, reason } });
}
