import type { Clock } from '../../common/clock.ts';
import { cosignatureTime, isFromFuture, verifyCosignatureAsync } from '../../common/cosignature.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type NoteSignature, parseNote, signaturesBy, type VerifierKey } from '../../common/note.ts';
import type { RoundCheckpoint } from '../ws/ports.ts';

/** What is asked of the ledger. */
export interface ProvingLedger {
  consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]>;
  checkpoint(): Promise<{ readonly size: number }>;
}

/** A witness outside the fleet, reached by URL. */
export interface OutsideTarget {
  readonly key: VerifierKey;
  /** Submission prefix. */
  readonly url: string;
}

/** Speaks `add-checkpoint` of C2SP tlog-witness with one witness. One call at a time. */
export interface OutsideClient {
  /**
   * Asks for a cosignature.
   * @param oldSize what the witness is believed to have cosigned last; corrected by its own word (409), once.
   * @throws AppError `collector.unreachable` (retryable) when it does not answer; `collector.refused` with `details.status`
   *   when it will not; `auth.signature` when its answer is not its cosignature; `ledger.forked` when it has seen what
   *   our ledger does not hold.
   */
  addCheckpoint(checkpoint: RoundCheckpoint, oldSize: number): Promise<NoteSignature>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

export function createOutsideClient(
  target: OutsideTarget,
  ledger: ProvingLedger,
  { timeoutMs, clock }: { readonly timeoutMs: number; readonly clock: Pick<Clock, 'now'> },
): OutsideClient {
  const url = `${target.url.replace(/\/+$/, '')}/add-checkpoint`;
  /** Loaded when needed: most ledgers have no witness outside, and what reads one asks nobody. */
  const connect = async () => {
    const { Agent, request } = await import('undici');
    const bounds = { maxResponseSize: limits.maxWitnessAnswerBytes, connect: { timeout: timeoutMs } };
    return { request, dispatcher: new Agent(bounds) };
  };
  let connected: ReturnType<typeof connect> | undefined;
  let isClosed = false;

  async function post(checkpoint: RoundCheckpoint, oldSize: number): Promise<Answer> {
    // The proof is empty from nothing, and from the same size.
    const proof = await ledger.consistency(oldSize, checkpoint.size);
    const lines = [`old ${oldSize}`, ...proof.map((hash) => hash.toString('base64')), '', checkpoint.note];
    if (isClosed) throw new AppError('collector.unreachable', `witness ${target.key.name}: is not asked any more`);
    connected ??= connect();
    const { request, dispatcher } = await connected;
    try {
      const { statusCode, headers, body } = await request(url, {
        method: 'POST',
        body: lines.join('\n'),
        headers: { 'content-type': 'text/plain; charset=utf-8' },
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        signal: AbortSignal.timeout(2 * timeoutMs),
        dispatcher,
      });
      return { status: statusCode, contentType: String(headers['content-type'] ?? ''), text: await body.text() };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AppError('collector.unreachable', `witness ${target.key.name}: ${reason}`, { cause, retryable: true });
    }
  }

  return {
    addCheckpoint: async (checkpoint, oldSize) => {
      const first = await post(checkpoint, oldSize);
      const known = sizeIn(first);
      if (known === undefined) return cosignatureIn(first, checkpoint, target.key, clock);
      // With the same size the roots differ, and what it has beyond ours was signed by us: the log was forked.
      if (known === oldSize && known === checkpoint.size) throw contradicted(target, known, checkpoint.size);
      if (known > checkpoint.size) {
        const { size } = await ledger.checkpoint();
        if (known > size) throw contradicted(target, known, size);
        // A later round, begun by another collector, was faster.
        throw refused(target, first);
      }
      const second = await post(checkpoint, known);
      if (sizeIn(second) === undefined) return cosignatureIn(second, checkpoint, target.key, clock);
      // Somebody else is submitting too; the next round goes on from there.
      throw refused(target, second);
    },
    close: async () => {
      isClosed = true;
      await (await connected)?.dispatcher.destroy();
    },
  };
}

/** The size a witness says it has seen; undefined when that is not what it says. */
function sizeIn({ status, contentType, text }: Answer): number | undefined {
  if (status !== 409) return undefined;
  const size = text.endsWith('\n') ? decodeDecimal(text.slice(0, -1)) : undefined;
  return contentType.split(';')[0]?.trim() === 'text/x.tlog.size' ? size : undefined;
}

/** Signatures of other keys are ignored, as the specification has it; ours has to be there and right. */
async function cosignatureIn(
  answer: Answer,
  { text }: RoundCheckpoint,
  key: VerifierKey,
  clock: Pick<Clock, 'now'>,
): Promise<NoteSignature> {
  if (answer.status !== 200) throw refused({ key }, answer);
  const lines = signaturesBy(readNote(text, answer.text, key), key);
  const [newest] = [...lines].sort((a, b) => cosignatureTime(b.signature) - cosignatureTime(a.signature));
  if (newest === undefined) {
    throw new AppError('auth.signature', `witness ${key.name} answered without a cosignature by its key`);
  }
  const timestampSeconds = await verifyCosignatureAsync(text, newest, key);
  if (!isFromFuture(timestampSeconds, clock.now())) return newest;
  throw new AppError('auth.signature', `witness ${key.name} cosigned by a clock that is far ahead of ours`);
}

function readNote(text: string, signatures: string, key: VerifierKey) {
  try {
    return parseNote(`${text}\n${signatures}`);
  } catch (thrown) {
    throw new AppError('auth.signature', `witness ${key.name} answered with something else than signature lines`, {
      cause: toAppError(thrown),
    });
  }
}

function refused({ key }: Pick<OutsideTarget, 'key'>, { status }: Answer): AppError {
  return new AppError('collector.refused', `witness ${key.name} answered with status ${status}${meaning(status)}`, {
    details: { status },
    retryable: status === 409 || status === 429 || status >= 500,
  });
}

/** C2SP tlog-witness; what an operator can do about it. */
function meaning(status: number): string {
  if (status === 403) return ': it does not know the key of this log; have it registered there';
  if (status === 404) return ': it does not know this log, or the URL is wrong; have it registered there';
  if (status === 422) return ': our consistency proof does not hold for what it has seen before';
  return '';
}

function contradicted({ key }: OutsideTarget, known: number, size: number): AppError {
  return new AppError(
    'ledger.forked',
    known === size
      ? `witness ${key.name} has cosigned another tree of ${size} entries: the log has been forked`
      : `witness ${key.name} has cosigned ${known} entries, the ledger has ${size}: was the database put back to an old backup?`,
    { details: { known, size } },
  );
}
