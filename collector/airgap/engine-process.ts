import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { AppError } from '../../common/errors.ts';
import { ownerBesidesRoot } from '../data/data-dir.ts';
import { dockerEngine, type ImageEngine } from './engine.ts';
import { type EngineAnswer, type EngineRequest, engineAnswer } from './engine-messages.ts';

/** Beside this file in the source, which Node needs help to read, and beside the program in the build. */
const [programFile, execArgv] = import.meta.url.endsWith('.ts')
  ? [new URL('./engine-program.ts', import.meta.url), ['--import', 'tsx']]
  : [new URL('./image-engine.js', import.meta.url), []];

/**
 * Gives `work` the engine as whoever runs the command may use it. Root gives itself up on the way for the owner of the data directory,
 * who must not have the engine's socket; so a process that stays root, and does nothing else, is begun before.
 * @throws what `work` throws
 */
export async function withImageEngine<T>(dataDir: string, work: (engine: ImageEngine) => Promise<T>): Promise<T> {
  if ((await ownerBesidesRoot(dataDir)) === undefined) return work(dockerEngine);
  const child = fork(programFile, [], {
    execArgv,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  try {
    return await work(engineOf(child));
  } finally {
    if (child.connected) child.disconnect();
  }
}

function engineOf(child: ChildProcess): ImageEngine {
  const gone = new AbortController();
  for (const event of ['error', 'exit'] as const) child.once(event, () => gone.abort());

  /** Says something, and waits for what is said to it. */
  async function ask(request: EngineRequest): Promise<Exclude<EngineAnswer, { readonly code: unknown }>> {
    const answered = once(child, 'message', { signal: gone.signal });
    child.send(request, () => {});
    const [said]: unknown[] = await answered.catch((cause: unknown) => {
      throw new AppError('internal.error', 'the process that asks the engine for images has ended', { cause });
    });
    const answer = engineAnswer.parse(said);
    if ('code' in answer) throw new AppError(answer.code, answer.message);
    return answer;
  }

  async function* save(reference: string): AsyncGenerator<Buffer, void> {
    let answer = await ask({ save: reference });
    while ('piece' in answer) {
      const { buffer, byteOffset, byteLength } = answer.piece;
      let isWanted = false;
      try {
        yield Buffer.from(buffer, byteOffset, byteLength);
        isWanted = true;
      } finally {
        // Also when the generator is left, so that the other side does not wait for ever.
        answer = await ask({ more: isWanted });
      }
    }
  }

  return {
    save,
    idOf: async (reference) => {
      const answer = await ask({ idOf: reference });
      if ('id' in answer) return answer.id;
      throw new AppError('internal.error', 'the process that asks the engine for images answers something else');
    },
  };
}
