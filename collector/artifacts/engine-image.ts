import type { Readable } from 'node:stream';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** An image on its way out of an engine, as `docker save` gives it. */
export interface EngineImage {
  readonly stream: Readable;
  close(): Promise<void>;
}

/** No image is called `/app` or `./app`: such a name was meant as that of a file. */
const beginsLikeOne = /^[A-Za-z0-9]/;

/** What engines say, some with 500 and some with 400, of what cannot be the name of an image. */
const noName = 'invalid reference format';

/**
 * Asks the engine at a local socket for an image (`GET /images/get` of the Engine API).
 * @throws AppError `resource.not_found` when it has none by that name, `engine.unreachable` when it does not answer.
 */
export async function saveImage(socketPath: string, image: string): Promise<EngineImage> {
  if (!beginsLikeOne.test(image)) throw notThere(image);
  // Loaded by the only command that needs it.
  const { Client } = await import('undici');
  const client = new Client('http://localhost', {
    connect: { socketPath },
    headersTimeout: limits.engineAnswerTimeoutMs,
    bodyTimeout: limits.engineAnswerTimeoutMs,
  });
  try {
    const query = { names: image };
    const { statusCode, body } = await client.request({ method: 'GET', path: '/images/get', query });
    if (statusCode === 200) return { stream: body, close: () => client.destroy() };
    const said = (await body.text()).slice(0, limits.maxForeignTextChars);
    if (statusCode === 404 || said.includes(noName)) throw notThere(image);
    throw new AppError('engine.unreachable', `the engine at ${socketPath} answered HTTP ${statusCode}: ${said}`);
  } catch (thrown) {
    await client.destroy();
    if (thrown instanceof AppError) throw thrown;
    const reason = errnoOf(thrown) ?? (thrown instanceof Error ? thrown.message : String(thrown));
    throw new AppError('engine.unreachable', `no engine answers at ${socketPath} (${reason})`, {
      cause: thrown,
      retryable: true,
    });
  }
}

function notThere(image: string): AppError {
  return new AppError('resource.not_found', `there is no file and no image "${image}" here`);
}
