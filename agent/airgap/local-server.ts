import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { entryLine } from '../../common/bundle/lines.ts';
import type { WantedImage } from '../../common/bundle/manifest.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { HoldingBoard } from '../desired/holding.ts';
import { closeHttp } from '../health/http.ts';
import type { LinkOutbox } from '../ports.ts';
import type { OutboxLook } from './source.ts';
import type { Taken } from './take.ts';

/** The socket by which commands on this machine speak with the agent. Whoever may open it may act as this node anyway. */
export function localSocketPath(dataDir: string): string {
  return join(dataDir, 'agent.sock');
}

export const localPaths = { outbox: '/outbox', entries: '/outbox/entries', carried: '/carried' } as const;

export interface LocalServerOptions {
  readonly dataDir: string;
  readonly outbox: LinkOutbox;
  readonly holding: HoldingBoard;
  /** Asked anew for each look. Never rejects. */
  readonly missingImages: () => Promise<readonly WantedImage[]>;
  /** Takes the bundle that waits in the data directory. */
  readonly takeCarried: () => Promise<Taken>;
  readonly logger: Logger;
}

/**
 * Serves the commands that carry bundles: what the outbox holds, and the word that a bundle waits. Never rejects: an agent watches without
 * it, and says why it is not there.
 * @returns what ends it.
 */
export async function serveLocally(options: LocalServerOptions): Promise<() => Promise<void>> {
  const { dataDir, logger } = options;
  const path = localSocketPath(dataDir);
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://agent');
    answer(`${request.method} ${url.pathname}`, { query: url.searchParams, response, options }).catch(
      (thrown: unknown) => refuse(response, thrown),
    );
  });
  try {
    // Of an agent that was killed: while it lives, its outbox is locked, and we are not here.
    await rm(path, { force: true });
    await listen(server, path);
    await chmod(path, 0o600);
  } catch (thrown) {
    logger.warn('local.not_served', { path, reason: errnoOf(thrown) ?? toAppError(thrown).message });
    return async () => {};
  }
  return () => closeHttp(server);
}

interface Asked {
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  readonly options: LocalServerOptions;
}

async function answer(what: string, { query, response, options }: Asked): Promise<void> {
  const { outbox, holding, missingImages, takeCarried } = options;
  if (what === `GET ${localPaths.outbox}`) {
    return sendJson(response, 200, lookAt(outbox, holding, await missingImages()));
  }
  if (what === `POST ${localPaths.carried}`) return sendJson(response, 200, await takeCarried());
  const after = decodeDecimal(query.get('after') ?? '');
  if (what !== `GET ${localPaths.entries}` || after === undefined) return void response.writeHead(404).end();
  const bounds = { maxEntries: limits.maxAppendEntries, maxBytes: limits.maxAppendBytes };
  const entries = await outbox.read(after, bounds);
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  response.end(Buffer.concat(entries.map(entryLine)));
}

export function lookAt(
  outbox: LinkOutbox,
  holding: Pick<HoldingBoard, 'current'>,
  images: readonly WantedImage[] = [],
): OutboxLook {
  const { head, acked, anchored } = outbox;
  const checkpoint = outbox.checkpoint() ?? null;
  return { head, acked, anchored, checkpoint, holding: holding.current ?? null, images: [...images] };
}

function refuse(response: ServerResponse, thrown: unknown): void {
  const { code, message, details, retryable } = toAppError(thrown);
  sendJson(response, 409, { error_code: code, message, details, retryable });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}
