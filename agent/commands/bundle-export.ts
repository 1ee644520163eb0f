import { amount } from '../../common/amount.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { version } from '../../common/version.ts';
import { openStopped, stoppedSource } from '../airgap/direct.ts';
import { type Exported, exportBundle } from '../airgap/export.ts';
import { findLocalAgent } from '../airgap/local-client.ts';
import type { ExportSource } from '../airgap/source.ts';
import { oneAtATime } from '../airgap/turn.ts';
import { systemClock } from '../clock.ts';
import type { AgentSettings } from '../config.ts';
import { type Identity, loadIdentity } from '../identity.ts';
import { requireDataDir } from './data-dir.ts';

export interface ExportRequest {
  readonly to: string;
  /** As it was given. */
  readonly maxPartBytes: string | undefined;
  readonly onProgress: (done: number, of: number) => void;
  readonly logger: Logger;
}

export interface ExportShown extends Exported {
  readonly node: string;
  /** Whether the entries came from an agent that runs. */
  readonly running: boolean;
}

/**
 * Writes what the outbox holds to a folder, for a collector that cannot be reached. The agent may run or not.
 * @throws AppError `validation.request`, `auth.required`, `auth.key_file`, `state.conflict`, `state.busy`; as `exportBundle`
 */
export async function bundleExport(settings: AgentSettings, request: ExportRequest): Promise<ExportShown> {
  const { dataDir } = settings;
  await requireDataDir(dataDir);
  const maxPartBytes = partBytes(request.maxPartBytes);
  const identity = await loadIdentity(dataDir);
  const { node, keys, collector } = identity;
  return oneAtATime(dataDir, async () => {
    const { source, running } = await openSource(settings, identity, request.logger);
    try {
      const exported = await exportBundle({
        ...{ dataDir, node, keys, version, source, maxPartBytes, clock: systemClock, maxParts: limits.maxBundleParts },
        ...{ origin: collector.origin, to: request.to, onProgress: request.onProgress },
      });
      return { node, running, ...exported };
    } finally {
      await source.close();
    }
  });
}

async function openSource(
  settings: AgentSettings,
  identity: Identity,
  logger: Logger,
): Promise<{ source: ExportSource; running: boolean }> {
  const agent = await findLocalAgent(settings.dataDir);
  if (agent !== undefined) return { source: agent.source, running: true };
  const outbox = await openStopped(settings, identity, { clock: systemClock, logger });
  return { source: stoppedSource(settings.dataDir, outbox), running: false };
}

function partBytes(text: string | undefined): number {
  if (text === undefined) return limits.bundlePartBytes;
  const bytes = /^[0-9]{1,12}$/.test(text) ? Number(text) : 0;
  if (bytes >= limits.minBundlePartBytes && bytes <= limits.maxBundlePartBytes) return bytes;
  throw new AppError(
    'validation.request',
    `--max-part-bytes: ${limits.minBundlePartBytes} to ${limits.maxBundlePartBytes} are expected, and "${text}" is none of them`,
  );
}

export function formatExported({
  node,
  folder,
  number,
  entries,
  parts,
  bytes,
  resumed,
  anchored,
  images,
}: ExportShown): string {
  const what =
    entries === null
      ? 'no entries: nothing waits'
      : `${amount(entries.last - entries.first + 1, 'entry', 'entries')} (${entries.first} to ${entries.last}) in ${amount(parts, 'part')}, ${amount(bytes, 'byte')}`;
  const lines = [
    `bundle ${number} of ${node}: ${folder}`,
    `  ${anchored ? what : 'no entries: the outbox does not know where its chain stands in the ledger, and this bundle asks for that'}`,
    ...(resumed === 0 ? [] : [`  ${amount(resumed, 'part')} of it were there already`]),
    ...images.map(
      (image) => `  it asks for the image ${image}, which is wanted here and which the engine does not have`,
    ),
    '  the outbox keeps all of it until the collector has proved that it is in the ledger',
    '  next: take it to the collector: sigilwatch-collector bundle import FOLDER',
  ];
  return `${lines.join('\n')}\n`;
}
