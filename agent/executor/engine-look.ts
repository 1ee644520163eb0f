import { connect } from 'node:net';
import { limits } from '../../common/limits.ts';
import { cleanPath } from '../../common/manifest/spelling.ts';
import { membersOf, parseJson } from './plain-json.ts';
import type { LookUp, SeenContainer } from './seen-container.ts';

/** The engine could not be asked; nothing is known. */
export class EngineGone extends Error {}

/**
 * Looks containers up at the engine's socket. By HTTP/1.0, where an answer is its head and all that follows until the end, so
 * that nothing more has to be understood of it.
 */
export function engineLookUp(enginePath: string): LookUp {
  return async (id) => {
    const answer = await ask(enginePath, `GET /containers/${id}/json HTTP/1.0\r\nHost: engine\r\n\r\n`);
    const end = answer.indexOf('\r\n\r\n');
    const status = /^HTTP\/1\.[01] ([0-9]{3})/.exec(answer.subarray(0, 16).toString('latin1'))?.[1];
    if (status === '404') return undefined;
    const seen = status === '200' && end !== -1 ? readContainer(answer.toString('utf8', end + 4), id) : undefined;
    if (seen === undefined) throw new EngineGone('the engine answered something else');
    return seen;
  };
}

function readContainer(text: string, id: string): SeenContainer | undefined {
  const container = membersOf(parseJson(text));
  const labels = membersOf(membersOf(container?.Config)?.Labels ?? {});
  const isRunning = membersOf(container?.State)?.Running;
  if (container?.Id !== id || typeof container.Name !== 'string' || labels === undefined) return undefined;
  if (typeof isRunning !== 'boolean') return undefined;
  return { name: container.Name.replace(/^\//, ''), labels, isRunning, mounted: mountedOf(container.Mounts) };
}

/** As the agent spells them (`agent/docker/config-json.ts`), but for volumes, which have no source that would be a path. */
function mountedOf(mounts: unknown): readonly string[] {
  return (Array.isArray(mounts) ? mounts : []).flatMap((mount) => {
    const { Type, Source, Destination, RW } = membersOf(mount) ?? {};
    if (Type !== 'bind' || typeof Source !== 'string' || typeof Destination !== 'string') return [];
    return [`${cleanPath(Source)}:${cleanPath(Destination)}:${RW === true ? 'rw' : 'ro'}`];
  });
}

function ask(enginePath: string, request: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const engine = connect(enginePath);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (): void => {
      clearTimeout(timer);
      engine.destroy();
      reject(new EngineGone('the engine does not answer'));
    };
    // For the whole of it: an engine that trickles is no better than one that is silent.
    const timer = setTimeout(fail, limits.engineTimeoutMs);
    engine.once('connect', () => engine.write(request));
    engine.on('data', (chunk) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > limits.executorMaxInspectBytes) fail();
    });
    engine.once('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
    engine.once('error', fail);
    engine.once('close', fail);
  });
}
