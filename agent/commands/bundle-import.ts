import { basename } from 'node:path';
import { amount } from '../../common/amount.ts';
import { AppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { version } from '../../common/version.ts';
import { openStopped } from '../airgap/direct.ts';
import { findLocalAgent } from '../airgap/local-client.ts';
import { bringReturn, bytesOf, carriedFolder, dropReturn, findReturn, readReturn } from '../airgap/returned.ts';
import { rehearse, type Taken } from '../airgap/take.ts';
import { oneAtATime } from '../airgap/turn.ts';
import { systemClock } from '../clock.ts';
import type { AgentSettings } from '../config.ts';
import { type Identity, loadIdentity } from '../identity.ts';
import { openForkDesk } from '../link/fork-desk.ts';
import { Account } from '../told/account.ts';
import { requireDataDir } from './data-dir.ts';

export interface ImportRequest {
  readonly dir: string;
  readonly onProgress: (done: number, of: number) => void;
  readonly logger: Logger;
}

export interface ImportShown {
  readonly bundle: string;
  readonly node: string;
  readonly number: number;
  /** What came of it; null where no agent runs: the next start takes it in. */
  readonly taken: Taken | null;
}

/**
 * Takes in the answer of the collector that was carried here. All of it is checked before any of it counts. An agent that runs takes it
 * at once; for one that does not, it is checked and left in the data directory.
 * @throws AppError `bundle.foreign`, `bundle.damaged`, `bundle.replayed`, `bundle.refused`, `ledger.forked`; `auth.required`,
 *   `auth.key_file`; `state.conflict`, `state.busy`, `agent.unreachable`
 */
export async function bundleImport(settings: AgentSettings, request: ImportRequest): Promise<ImportShown> {
  const { dataDir } = settings;
  await requireDataDir(dataDir);
  const identity = await loadIdentity(dataDir);
  const { node, keys, collector } = identity;
  const folder = await findReturn(request.dir, node);
  const manifest = await readReturn(folder, { node, keys, logKey: parseVerifierKey(collector.vkey) });
  const of = bytesOf(manifest);
  let done = 0;
  const brought = {
    ...{ folder, manifest, keepFreeBytes: settings.outbox.maxBytes },
    onCopied: (bytes: number) => {
      done += bytes;
      request.onProgress(done, of);
    },
  };
  const taken = await oneAtATime(dataDir, async () => {
    await bringReturn(dataDir, brought);
    const agent = await findLocalAgent(dataDir);
    if (agent !== undefined) return agent.takeCarried();
    await checkAlone(settings, identity, request.logger);
    return null;
  });
  return { bundle: basename(folder), node, number: manifest.number, taken };
}

/** As the agent will when it is started. One that is refused does not wait for that. */
async function checkAlone(settings: AgentSettings, identity: Identity, logger: Logger): Promise<void> {
  const { dataDir } = settings;
  const { node, keys, collector } = identity;
  const clock = systemClock;
  const outbox = await openStopped(settings, identity, { clock, logger });
  try {
    const forks = await openForkDesk({ dataDir, journal: new Account(outbox), clock, logger });
    if (forks.standing !== undefined) {
      throw new AppError('ledger.forked', `${forks.standing.reason}; nothing is taken in while this fork stands`);
    }
    await rehearse(carriedFolder(dataDir), {
      ...{ node, keys, version, outbox, clock, keepFork: (fork) => forks.keep(fork) },
      logKey: parseVerifierKey(collector.vkey),
    });
  } catch (thrown) {
    await dropReturn(dataDir);
    throw thrown;
  } finally {
    await outbox.close();
  }
}

export function formatImported({ bundle, node, number, taken }: ImportShown): string {
  if (taken === null) {
    return `${bundle}: in order, for ${node}\n  no agent runs here: it takes the bundle in when it is started\n`;
  }
  const { receipts, waiting, size, orders, measures, commit, images } = taken;
  const lines = [
    `${bundle}: the answer to bundle ${number} of ${node} is taken in`,
    `  ${amount(receipts, 'entry', 'entries')} proved to be in the ledger, ${amount(waiting, 'entry', 'entries')} still waiting`,
    `  checkpoint of ${amount(size, 'entry', 'entries')} accepted`,
    `  ${amount(orders, 'order')}, ${amount(measures, 'measure')}, ${commit === null ? 'no commit' : `commit ${commit.slice(0, 12)}`}, ${amount(images.length, 'image')}`,
    ...images.map((path) => `  ${path}: taken in when an order needs it; to have it now: docker load --input ${path}`),
  ];
  return `${lines.join('\n')}\n`;
}
