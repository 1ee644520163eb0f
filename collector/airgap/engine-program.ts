import { on } from 'node:events';
import { toAppError } from '../../common/errors.ts';
import { dockerEngine } from './engine.ts';
import { type EngineAnswer, type EngineRequest, engineRequest } from './engine-messages.ts';

/*
 * Asks the engine about images, and for them, on behalf of a command that has given up the right to (engine-process.ts). Whoever holds
 * the engine's socket is root, so nothing else can be had from it. Ends when the command is gone, however that came about.
 */

/** A terminal tells all processes to stop; here the command does. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));

const say = (answer: EngineAnswer) => process.send?.(answer);

async function* heard(): AsyncGenerator<EngineRequest, void> {
  for await (const [message] of on(process, 'message')) yield engineRequest.parse(message);
}
const requests = heard();

async function savePieces(reference: string): Promise<void> {
  for await (const piece of dockerEngine.save(reference)) {
    say({ piece });
    const { value } = await requests.next();
    if (value === undefined || !('more' in value) || !value.more) break;
  }
  say({ ended: true });
}

async function answer(request: EngineRequest): Promise<void> {
  try {
    if ('idOf' in request) say({ id: await dockerEngine.idOf(request.idOf) });
    else if ('save' in request) await savePieces(request.save);
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    say({ code, message });
  }
}

// Not by `for await`, which would end the requests for good when one of them is left.
for (let next = await requests.next(); next.done !== true; next = await requests.next()) await answer(next.value);
