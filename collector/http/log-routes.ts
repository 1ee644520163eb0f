import { AppError } from '../../common/errors.ts';
import { parseTilePath, type Tile } from '../../common/tiles.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Routes } from './env.ts';

type Log = Pick<Ledger, 'tile' | 'bundle'>;

/** Tiles never change. Private, because a shared cache would hand them to callers without a token. */
const forever = 'private, max-age=31536000, immutable';

/**
 * The log as files: C2SP tlog-tiles below `/log/`.
 * @param checkpoint the signed note to go by, cosignatures included.
 */
export function addLogRoutes(routes: Routes, ledger: Log, checkpoint: () => Promise<string>): void {
  routes.get('/log/checkpoint', async (c) => {
    return c.body(await checkpoint(), 200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
  routes.get('/log/tile/*', async (c) => {
    const path = c.req.path.slice('/log/'.length);
    const bytes = await readTile(ledger, parseTilePath(path));
    if (bytes === undefined) throw new AppError('resource.not_found', `the ledger does not reach to ${path}`);
    // A copy with a buffer of its own: what came from the database may be a view of a larger one.
    return c.body(new Uint8Array(bytes), 200, {
      'Content-Type': 'application/octet-stream',
      'Cache-Control': forever,
    });
  });
}

function readTile(ledger: Log, tile: Tile): Promise<Buffer | undefined> {
  if (tile.kind === 'entries') return ledger.bundle(tile.index, tile.width);
  return ledger.tile(tile.level, tile.index, tile.width);
}
