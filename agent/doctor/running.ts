import { join } from 'node:path';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { shellWord } from '../../common/shell-word.ts';
import { version } from '../../common/version.ts';
import type { AgentSettings } from '../config.ts';
import type { AgentStatus } from '../health/status.ts';
import { unreleasedForks } from '../link/fork-desk.ts';
import { quarantines } from '../outbox/folder.ts';
import type { CollectorSeen } from './collector.ts';
import { describeLink } from './link.ts';
import { requireOwnDataDir } from './own-data-dir.ts';

/** What the agent that runs here says of itself, and what it has left on disk. */
export function runningPlans(
  settings: AgentSettings,
  { identity }: CollectorSeen,
  status: Promise<AgentStatus>,
): Plan[] {
  const running = () =>
    status.catch(() => {
      throw new NotChecked('no agent answers here', 'see agent');
    });
  return [
    {
      name: 'agent',
      fix: 'systemctl start sigilwatch-agent, or by hand: sigilwatch-agent run',
      look: async () => {
        await identity.catch(() => {
          throw new NotChecked('only an enrolled node has one running', 'see enrolment');
        });
        return describeAgent(await status);
      },
    },
    {
      name: 'link',
      fix: 'see what the lines of "collector" say, and: sigilwatch-agent status',
      look: async () => describeLink((await running()).link),
    },
    {
      name: 'outbox',
      fix: 'let the agent reach its collector, or set a larger outbox.maxBytes in the settings',
      look: async () => describeOutbox((await running()).outbox, settings.outbox.maxBytes),
    },
    {
      name: 'outbox damage',
      fix: 'look at the disk (dmesg, smartctl)',
      look: () => lookAtDamage(settings.dataDir, recoveredBy(status)),
    },
    {
      name: 'witness',
      fix: 'find out who changed the ledger, then: sigilwatch-agent witness release --reason TEXT',
      look: () => lookAtWitness(settings, status),
    },
  ];
}

function describeAgent({ version: running, status }: AgentStatus): string {
  if (running === version) return `runs, ${status}`;
  throw new Wrong(`version ${running} runs, ${version} is installed`, 'systemctl restart sigilwatch-agent');
}

function describeOutbox({ depth, bytes }: AgentStatus['outbox'], maxBytes: number): string {
  const percent = Math.round((100 * bytes) / maxBytes);
  const told = `${amount(depth, 'entry', 'entries')} waiting, ${percent} % of its room`;
  if (bytes < limits.outboxFillingRatio * maxBytes) return told;
  throw new AppError('outbox.full', told);
}

type Recovered = NonNullable<AgentStatus['outbox']['recovered']>;

/** Null where no agent answers, too. One of an earlier version does not say. */
async function recoveredBy(status: Promise<AgentStatus>): Promise<Recovered | null> {
  const outbox: Partial<AgentStatus['outbox']> | undefined = (await status.catch(() => undefined))?.outbox;
  return outbox?.recovered ?? null;
}

/**
 * What was damaged is kept beside the new outbox, and says so until somebody has looked at it. Where nothing was left to keep, the agent
 * says so until it is started again.
 */
export async function lookAtDamage(dataDir: string, recovering: Promise<Recovered | null>): Promise<string> {
  await requireOwnDataDir(dataDir);
  const recovered = await recovering;
  const kept = await quarantines(join(dataDir, 'outbox'));
  const newest = kept.at(-1);
  if (newest === undefined && recovered === null) return 'none was found';
  const disk = 'look at the disk (dmesg, smartctl) and at what outbox.recovered says is missing';
  const told = recovered === null ? '' : ` (${recovered.reason}; ${lostIn(recovered)})`;
  if (newest === undefined) {
    throw new Wrong(`the outbox was gone, and built anew${told}`, `${disk}, then: systemctl restart sigilwatch-agent`);
  }
  throw new Wrong(
    `the outbox was damaged, and built anew${told}; what was damaged is ${newest}`,
    `${disk}, then: rm -r ${kept.map(shellWord).join(' ')}`,
  );
}

function lostIn({ salvaged, missing }: Recovered): string {
  const lost = missing === null ? 'nobody knows how many are missing' : `${missing} missing`;
  return `${amount(salvaged, 'entry', 'entries')} kept, ${lost}`;
}

async function lookAtWitness({ dataDir }: AgentSettings, status: Promise<AgentStatus>): Promise<string> {
  await requireOwnDataDir(dataDir);
  const [fork] = await unreleasedForks(dataDir);
  if (fork !== undefined) {
    throw new AppError('ledger.forked', `${fork.reason} (evidence/${fork.id}.json of ${fork.at})`);
  }
  const said = 'the ledger has not contradicted itself';
  const running = await status.catch(() => undefined);
  if (running === undefined || running.link.witness.held === null) return said;
  const { held, cosigned } = running.link.witness;
  const vouched = cosigned === null ? '' : `, cosigned ${cosigned.size}`;
  return `${said}; holds ${amount(held.size, 'entry', 'entries')}${vouched}`;
}
