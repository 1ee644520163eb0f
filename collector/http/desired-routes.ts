import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { type Look, lookView } from '../desired/look.ts';
import type { Routes } from './env.ts';
import { readQuery } from './query.ts';

/** @param look looks at the repository now; undefined where the collector follows none. */
export function addDesiredRoutes(routes: Routes, look: (() => Promise<Look>) | undefined): void {
  routes.post('/api/v1/desired/refresh', async (c) => {
    readQuery(c, z.strictObject({}));
    if (look === undefined) {
      throw new AppError(
        'state.conflict',
        'this collector follows no repository: its setting manifest.repository is not set',
      );
    }
    return c.json(lookView(await look()));
  });
}
