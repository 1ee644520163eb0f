import type { Socket } from 'node:net';
import { limits } from '../../common/limits.ts';
import { type Refused, refused } from './refused.ts';

/** What was asked for, and what came behind it. */
export interface Taken {
  readonly bytes: Buffer;
  readonly rest: Buffer;
}

/** The client has gone before it said what it wanted; there is nobody to be answered. */
export class ClientGone extends Error {}

const headEnd = '\r\n\r\n';

/** Takes the head of a request, without the empty line that ends it. Leaves the socket paused. Rejects with {@link ClientGone}. */
export function takeHead(client: Socket): Promise<Taken | Refused> {
  const pick = (bytes: Buffer): Taken | Refused | undefined => {
    const end = bytes.indexOf(headEnd);
    if (end > limits.executorMaxHeadBytes || (end === -1 && bytes.length > limits.executorMaxHeadBytes)) {
      return refused('request.size', 'the head of the request is too long');
    }
    if (end !== -1) return { bytes: bytes.subarray(0, end), rest: bytes.subarray(end + headEnd.length) };
    // Whoever ends lines by a line feed alone would be waited for in vain.
    return hasBareLineFeed(bytes) ? refused('request.form', 'lines end by CR LF') : undefined;
  };
  return takeUntil(client, Buffer.alloc(0), pick, limits.executorHeadTimeoutMs);
}

/** Takes a body of known length. As {@link takeHead}. */
export function takeBody(client: Socket, first: Buffer, bytes: number): Promise<Taken | Refused> {
  const pick = (come: Buffer): Taken | undefined =>
    come.length < bytes ? undefined : { bytes: come.subarray(0, bytes), rest: come.subarray(bytes) };
  return takeUntil(client, first, pick, limits.executorBodyTimeoutMs);
}

function hasBareLineFeed(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) {
    if (bytes[at - 1] !== 0x0d) return true;
  }
  return false;
}

function tooManyPieces(): Refused {
  return refused('request.size', 'the request comes in too many pieces');
}

function takeUntil(
  client: Socket,
  first: Buffer,
  pick: (bytes: Buffer) => Taken | Refused | undefined,
  timeoutMs: number,
): Promise<Taken | Refused> {
  return new Promise((resolve, reject) => {
    let come = first;
    let pieces = 0;
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      client.off('data', onData).off('end', onGone).off('close', onGone).pause();
      act();
    };
    const onData = (chunk: Buffer): void => {
      come = come.length === 0 ? chunk : Buffer.concat([come, chunk]);
      const picked = pick(come);
      if (picked !== undefined) settle(() => resolve(picked));
      else if (++pieces >= limits.executorMaxPieces) settle(() => resolve(tooManyPieces()));
    };
    const onGone = (): void => settle(() => reject(new ClientGone('the client has gone')));
    const timer = setTimeout(
      () => settle(() => resolve(refused('request.timeout', 'the request was not complete in time'))),
      timeoutMs,
    );
    const picked = pick(come);
    if (picked !== undefined) settle(() => resolve(picked));
    else if (client.destroyed || client.readableEnded) onGone();
    else client.on('data', onData).on('end', onGone).on('close', onGone).resume();
  });
}
