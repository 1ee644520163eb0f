import type { AgentSettings } from '../config.ts';
import { DesiredFolder } from '../desired/folder.ts';
import type { ShownStanding } from '../desired/standing.ts';
import { requireDataDir } from './data-dir.ts';

/** What git says should run here, as the agent last said. */
export interface DesiredShown extends ShownStanding {
  /** A commit that the operator lets in, and that has not come yet. */
  readonly accepted: { readonly commit: string; readonly reason: string } | null;
  /** Bundles that were brought, and that the agent has not looked at yet. */
  readonly waiting: number;
  /** Where commits may come from, and who may sign them, by the settings. */
  readonly settings: AgentSettings['manifest'];
}

/**
 * What is in force and what was refused, from the files beside the agent, running or not. Changes nothing.
 * @throws AppError `validation.config` when there is no data directory.
 */
export async function showDesired({ dataDir, manifest }: AgentSettings): Promise<DesiredShown> {
  await requireDataDir(dataDir);
  const folder = new DesiredFolder(dataDir);
  const shown = (await folder.shown()) ?? { adopted: null, lastRefused: null, usedRelease: null };
  const release = await folder.release(shown.usedRelease);
  return {
    ...shown,
    accepted: release === undefined ? null : { commit: release.commit, reason: release.reason },
    waiting: (await folder.waiting()).length,
    settings: manifest,
  };
}

/** For a person. */
export function formatDesired({ adopted, lastRefused, accepted, waiting, settings }: DesiredShown): string {
  const { repository, allowedSigners, revokedSigners, gpgHome } = settings;
  const trusted = [allowedSigners, gpgHome].filter((path) => path !== undefined).join(' and ');
  const lines = [
    adopted === null ? 'no commit is in force' : `in force: ${adopted.commit}`,
    ...(adopted === null ? [] : [`  ${signed(adopted.signer)}`, `  from ${from[adopted.origin]}${at(adopted.at)}`]),
    ...(adopted?.release ? [`  let in by the operator: ${adopted.release}`] : []),
    `follows ${repository ?? 'no local repository'}`,
    trusted === '' ? 'commits need no signature' : `commits must be signed by a key of ${trusted}`,
    ...(revokedSigners === undefined ? [] : [`  and not by one of ${revokedSigners}`]),
    ...(accepted === null ? [] : [`accepted and not there yet: ${accepted.commit} (${accepted.reason})`]),
    ...(waiting === 0 ? [] : [`${waiting} imported, not looked at yet: is the agent running?`]),
  ];
  if (lastRefused === null) return `${lines.join('\n')}\n`;
  const { commit, origin, file, line, column, reason } = lastRefused;
  const place = line === 1 && column === 1 ? file : `${file}:${line}:${column}`;
  const refused = [`refused last: ${commit ?? 'what came'} from ${from[origin]}${at(lastRefused.at)}`];
  const wayOut =
    lastRefused.code === 'state.conflict'
      ? ['  let it in all the same: sigilwatch-agent desired accept COMMIT --reason TEXT']
      : [];
  return `${[...lines, ...refused, `  ${place}: ${reason}`, ...wayOut].join('\n')}\n`;
}

const from = {
  repository: 'the local repository',
  collector: 'the collector',
  stick: 'an imported bundle',
} as const;

function at(time: string | null): string {
  return time === null ? '' : `, ${time}`;
}

function signed(signer: string | null): string {
  return signer === null ? 'not verified: nobody had to sign it' : `signed by ${signer}`;
}
