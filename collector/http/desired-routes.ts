import { AppError } from '../../common/errors.ts';
import { desiredRefresh } from '../api/governance-contract.ts';
import { type Look, lookView } from '../desired/look.ts';
import type { Serve } from './serving.ts';

/** @param look looks at the repository now; undefined where the collector follows none. */
export function addDesiredRoutes(serve: Serve, look: (() => Promise<Look>) | undefined): void {
  serve.json(desiredRefresh, async () => {
    if (look === undefined) {
      throw new AppError(
        'state.conflict',
        'this collector follows no repository: its setting manifest.repository is not set',
      );
    }
    return lookView(await look());
  });
}
