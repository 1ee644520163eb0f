import { request } from 'node:http';
import { z } from 'zod';
import { linesOf, maxEntryLineBytes, readEntryLine } from '../../common/bundle/lines.ts';
import { parseLogged } from '../../common/entry.ts';
import { AppError, errnoOf, errorCodes } from '../../common/errors.ts';
import { count } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { localPaths, localSocketPath } from './local-server.ts';
import { type ExportSource, type NumberedEntry, outboxLook } from './source.ts';
import type { Taken } from './take.ts';

const refusal = z.object({
  error_code: z.enum(errorCodes),
  message: z.string(),
  details: z.record(z.string(), z.unknown()).default({}),
  retryable: z.boolean().default(false),
});

const takenSchema = z.object({
  ...{ number: count, receipts: count, waiting: count, size: count, orders: count, measures: count },
  commit: z.string().nullable(),
  images: z.array(z.string()),
});

/** The agent that runs here, as commands speak with it. */
export interface LocalAgent {
  readonly source: ExportSource;
  /** Has it take the bundle that waits. @throws AppError what it says. */
  takeCarried(): Promise<Taken>;
}

/** Undefined when no agent runs on this data directory. @throws AppError `agent.unreachable` for one that does not answer. */
export async function findLocalAgent(dataDir: string): Promise<LocalAgent | undefined> {
  const path = localSocketPath(dataDir);
  const source: ExportSource = {
    look: async () => outboxLook.parse(JSON.parse((await ask(path, 'GET', localPaths.outbox)).toString('utf8'))),
    read: async (afterSeq) => readEntries(await ask(path, 'GET', `${localPaths.entries}?after=${afterSeq}`)),
    close: async () => {},
  };
  try {
    await source.look();
  } catch (thrown) {
    const errno = thrown instanceof AppError ? errnoOf(thrown.cause) : undefined;
    if (errno === 'ENOENT' || errno === 'ECONNREFUSED') return undefined;
    throw thrown;
  }
  return {
    source,
    takeCarried: async () => takenSchema.parse(JSON.parse((await ask(path, 'POST', localPaths.carried)).toString())),
  };
}

async function readEntries(body: Buffer): Promise<readonly NumberedEntry[]> {
  const entries: NumberedEntry[] = [];
  for await (const { bytes } of linesOf(once(body), 'outbox', maxEntryLineBytes)) {
    const entry = readEntryLine(bytes);
    if (entry === undefined) throw new AppError('agent.unreachable', 'the agent answers with what is no entry');
    entries.push({ ...entry, seq: parseLogged(entry.bytes).seq });
  }
  return entries;
}

async function* once(body: Buffer): AsyncGenerator<Buffer, void> {
  yield body;
}

function ask(socketPath: string, method: string, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const unanswered = (cause: unknown): void =>
      reject(
        new AppError('agent.unreachable', `the agent does not answer at ${socketPath} (${errnoOf(cause)})`, { cause }),
      );
    const asked = request({ socketPath, method, path, timeout: limits.bundleTakenWithinMs }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', unanswered);
      response.on('end', () => {
        const body = Buffer.concat(pieces);
        if (response.statusCode === 200) resolve(body);
        else reject(refusalIn(body));
      });
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', unanswered);
    asked.end();
  });
}

function refusalIn(body: Buffer): AppError {
  try {
    const { error_code, message, details, retryable } = refusal.parse(JSON.parse(body.toString('utf8')));
    return new AppError(error_code, message, { details, retryable });
  } catch (cause) {
    return new AppError(
      'agent.unreachable',
      'the agent gives an answer that makes no sense: is it of another version?',
      {
        cause,
      },
    );
  }
}
