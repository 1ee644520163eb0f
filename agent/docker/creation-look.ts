import { limits } from '../../common/limits.ts';
import { asking, clientAt, read, statusOf } from './asking.ts';
import {
  containerCreation,
  type ImageCreation,
  imageCreation,
  type SeenCreation,
  seenCreation,
} from './creation-json.ts';
import { foreignKeys } from './foreign-keys.ts';

/**
 * Looks at what a container was made by and is never compared by, which the agent's cycle has no use for. Only reads.
 * Calls throw AppError `engine.unreachable` and `engine.answer`.
 */
export interface CreationLook {
  /** Undefined when the container or its image is gone. */
  of(containerId: string, imageId: string): Promise<SeenCreation | undefined>;
  close(): void;
}

/** Through the engine behind a local unix socket. */
export function creationLook(socketPath: string): CreationLook {
  const client = clientAt(socketPath);
  const { ask, close } = asking(socketPath, limits.engineTimeoutMs);
  const images = new Map<string, Promise<ImageCreation | undefined>>();

  function json(path: string): Promise<unknown> {
    return ask((abortSignal) => {
      const request = { path, method: 'GET', abortSignal, statusCodes: { 200: true } };
      return new Promise((resolve, reject) => {
        client.modem.dial(request, (error: unknown, answer: unknown) => {
          if (!error) resolve(answer);
          else if (statusOf(error) === 404) resolve(undefined);
          else reject(error);
        });
      });
    });
  }

  async function imageOf(imageId: string): Promise<ImageCreation | undefined> {
    if (!/^sha256:[0-9a-f]{64}$/.test(imageId)) return undefined;
    const answer = await json(`/images/${imageId}/json`);
    return answer === undefined ? undefined : read(imageCreation, answer, 'GET /images/{id}/json');
  }

  return {
    of: async (containerId, imageId) => {
      const found = images.get(imageId) ?? imageOf(imageId);
      images.set(imageId, found);
      const [image, answer] = await Promise.all([found, json(`/containers/${containerId}/json`)]);
      if (image === undefined || answer === undefined) return undefined;
      const seen = read(containerCreation, answer, 'GET /containers/{id}/json');
      return seenCreation(seen, { image, foreign: foreignKeys(answer, image) });
    },
    close,
  };
}
