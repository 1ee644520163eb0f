/**
 * Every way Sigilwatch can fail, as a closed union. The part before the dot is the family; the HTTP boundary maps
 * families to status codes, the socket boundary to close codes and the command line to exit codes.
 */
export const errorCodes = [
  'validation.config',
  'validation.manifest',
  'validation.request',
  'validation.body',
  'validation.too_large',
  'validation.entry',
  'validation.protocol',
  'validation.policy',
  'auth.required',
  'auth.credentials',
  'auth.forbidden',
  'auth.token',
  'auth.signature',
  'auth.revoked',
  'auth.key_file',
  'resource.not_found',
  'resource.gone',
  'state.conflict',
  'state.busy',
  'state.version',
  'rate_limit.exceeded',
  'engine.unreachable',
  'engine.answer',
  'store.missing',
  'store.not_a_store',
  'store.corrupt',
  'store.unreadable',
  'outbox.corrupt',
  'outbox.full',
  'outbox.write_failed',
  'ledger.equivocation',
  'ledger.sequence',
  'ledger.forked',
  'ledger.tampered',
  'ledger.checkpoint_file',
  'ledger.proof',
  'ledger.quorum',
  'bundle.damaged',
  'bundle.foreign',
  'bundle.replayed',
  'bundle.refused',
  'agent.unreachable',
  'collector.unreachable',
  'collector.refused',
  'database.unreachable',
  'database.migration',
  'channel.unreachable',
  'channel.refused',
  'internal.error',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export interface AppErrorOptions {
  /** Machine-readable facts beside the message; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** True when the same call may succeed later without anybody changing anything. */
  readonly retryable?: boolean;
}

/** The one error class. The message is for people and says what to do; code that decides looks at `code` only. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? false;
  }
}

/** Anything thrown, as an AppError: what is not ours becomes `internal.error` with the original as its cause. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  return new AppError('internal.error', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** The errno of a failed system call (`ENOENT`, `ENOSPC` ...), or undefined. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}

/**
 * That a file could not be written, why, and what helps, for people.
 * @param uid whose rights counted; undefined where that is nobody's question
 */
export function cannotWrite(path: string, cause: unknown, uid: number | undefined): string {
  const errno = errnoOf(cause) ?? String(cause);
  const fix = writeFixOf(errno, uid);
  return `cannot write ${path}: ${errno}${fix === undefined ? '' : `; ${fix}`}`;
}

function writeFixOf(errno: string, uid: number | undefined): string | undefined {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'make room there, and run it again';
    case 'EROFS':
      return 'mount it for writing';
    case 'EACCES':
    case 'EPERM':
      return uid === undefined ? undefined : `this acts as user ${uid}, who has to be allowed to write there`;
    default:
      return undefined;
  }
}
