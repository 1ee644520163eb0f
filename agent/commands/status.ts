import { amount } from '../../common/amount.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { AgentSettings } from '../config.ts';
import { type AgentStatus, scanShare } from '../health/status.ts';

/**
 * Asks the agent running on this machine.
 * @throws AppError `agent.unreachable` when none answers
 */
export async function askStatus({ http }: AgentSettings): Promise<AgentStatus> {
  const host = http.host.includes(':') ? `[${http.host}]` : http.host;
  const url = `http://${host}:${http.port}/healthz`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(limits.engineTimeoutMs) });
    // Our own program's answer, on a port that our own settings name.
    const status: AgentStatus = await response.json().then((body: unknown) => body as AgentStatus);
    return status;
  } catch (cause) {
    throw new AppError('agent.unreachable', `no agent answers at ${url}; is it running?`, { cause });
  }
}

/** The status for a person. */
export function formatStatus(status: AgentStatus): string {
  const { link, lastScan, outbox, stores } = status;
  const rows: [string, string][] = [
    ['node', `${status.node}, ${status.status} (version ${status.version})`],
    ['link', `${link.state}${link.lastError && link.state !== 'connected' ? `: ${link.lastError.message}` : ''}`],
    ['collector', collectorLine(link)],
    ['witness', witnessLine(link.witness)],
    [
      'outbox',
      `${amount(outbox.depth, 'entry', 'entries')} waiting, last number ${outbox.headSeq}, acknowledged ${link.ackedSeq}`,
    ],
    ...recoveredRows(outbox),
    ['engine', status.engine],
    ['last scan', lastScan === null ? 'none yet' : `${lastScan.minute} ${lastScan.coverage} in ${lastScan.scanMs} ms`],
    [
      'containers',
      `${status.containers} seen, ${status.unobserved} not observed, ${amount(status.openDrifts, 'drift')}`,
    ],
    ['manifest', status.commit ?? 'none'],
    ...stores.map(({ store, status: state, openFindings, error }): [string, string] => [
      `store ${store}`,
      error ?? `${state}, ${amount(openFindings, 'finding')}${scanText(status, store)}`,
    ]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')}\n`;
}

/** Where the outbox was damaged. An agent of an earlier version does not say. */
function recoveredRows({ recovered = null }: Partial<AgentStatus['outbox']>): [string, string][] {
  if (recovered === null) return [];
  const { reason, salvaged, missing, quarantine } = recovered;
  const lost = missing === null ? 'nobody knows how many are missing' : `${missing} missing`;
  return [
    [
      '',
      `was damaged and built anew: ${salvaged} kept, ${lost} (${reason}); ${quarantine ?? 'nothing was left of it'}`,
    ],
  ];
}

/** Of full scans, which may take hours. An agent of an earlier version does not say. */
function scanText({ scanning = [] }: Partial<AgentStatus>, name: string): string {
  const scan = scanning.find(({ store, mode }) => store === name && mode === 'full');
  if (scan === undefined) return '';
  const share = scanShare(scan);
  const percent = share === undefined ? '' : `, ${Math.floor(share * 100)} %`;
  return `; a full scan is under way: ${amount(scan.records, 'record')}${percent}`;
}

/** An agent of an earlier version does not say. */
function collectorLine({ collector = null }: Partial<AgentStatus['link']>): string {
  if (collector === null) return 'not met since the start';
  return `version ${collector.version ?? 'not told'}, ${collector.protocol}`;
}

function witnessLine({ held, cosigned, fork }: AgentStatus['link']['witness']): string {
  if (fork !== null) return `FORK since ${fork.at}: ${fork.reason} (evidence/${fork.id}.json)`;
  if (held === null) return 'no checkpoint yet';
  return `holds size ${held.size}, cosigned ${cosigned === null ? 'nothing since the start' : `size ${cosigned.size}`}`;
}
