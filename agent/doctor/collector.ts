import { z } from 'zod';
import { certificateAge } from '../../common/certificate-age.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { version } from '../../common/version.ts';
import { versionSkew } from '../../common/version-skew.ts';
import type { AgentSettings } from '../config.ts';
import { type Identity, loadIdentity } from '../identity.ts';
import { readAuthorities } from '../link/authorities.ts';
import { askCollector, type CollectorAnswer } from './collector-answer.ts';
import { clockFix } from './link.ts';
import { enrolCommand, requireOwnDataDir } from './own-data-dir.ts';

/** What several checks are made of, each asked for once. The promises may reject; every check says so in its own way. */
export interface CollectorSeen {
  readonly identity: Promise<Identity>;
  readonly url: Promise<URL>;
  readonly health: Promise<CollectorAnswer>;
}

/** Begins to ask. */
export function seeCollector({ dataDir, collector }: AgentSettings): CollectorSeen {
  const identity = requireOwnDataDir(dataDir).then(() => loadIdentity(dataDir));
  const url = identity.then((known) => new URL(collector.url ?? known.collector.url));
  const health = url.then(async (at) => askCollector(new URL('/health', at), await readAuthorities(collector.caFile)));
  // Whoever looks hears of it; nobody may look.
  for (const seen of [identity, url, health]) seen.catch(() => {});
  return { identity, url, health };
}

/** Whom this node reports to, and whether that works. */
export function collectorPlans(settings: AgentSettings, seen: CollectorSeen): Plan[] {
  const { caFile } = settings.collector;
  return [
    { name: 'enrolment', fix: enrolCommand, look: () => lookAtEnrolment(seen) },
    {
      name: 'collector',
      fix: 'start the collector; if it is elsewhere now, set collector.url in the settings',
      look: () => lookAtCollector(seen),
    },
    {
      name: 'certificate',
      fix: 'correct collector.caFile in the settings',
      look: () => lookAtCertificate(seen, caFile),
    },
    { name: 'version', fix: 'is that address the collector?', look: () => lookAtVersion(seen, caFile) },
  ];
}

async function lookAtEnrolment({ identity, url }: CollectorSeen): Promise<string> {
  const { node, collector } = await identity.catch((thrown: unknown) => {
    if (thrown instanceof AppError && thrown.code === 'auth.key_file') {
      throw new NotChecked('its files cannot be used', 'see key permissions');
    }
    throw thrown;
  });
  const now = (await url).origin;
  const moved = now === new URL(collector.url).origin ? '' : `, now at ${now}`;
  return `${node}, with ${collector.url}${moved}`;
}

/** @throws NotChecked where nobody can be asked. */
async function asked<T>(seen: CollectorSeen, what: Promise<T>): Promise<T> {
  await seen.identity.catch(() => {
    throw new NotChecked('only an enrolled node knows its collector', 'see enrolment');
  });
  return what;
}

async function lookAtCollector(seen: CollectorSeen): Promise<string> {
  const { status } = await asked(seen, seen.health);
  const { origin } = await seen.url;
  if (status === 200) return `${origin} answers`;
  throw new AppError('collector.unreachable', `${origin} answered ${status}`);
}

/** An answer that came by a way we believe. @throws NotChecked for none. */
async function believedAnswer(seen: CollectorSeen): Promise<CollectorAnswer> {
  const answer = await asked(seen, seen.health).catch((thrown: unknown) => {
    throw thrown instanceof NotChecked ? thrown : new NotChecked('the collector does not answer', 'see collector');
  });
  if (answer.tls?.problem === undefined) return answer;
  throw new NotChecked('whoever answers is not known to be the collector', 'see certificate');
}

async function lookAtCertificate(seen: CollectorSeen, caFile: string | undefined): Promise<string> {
  // First of all, since nobody is asked without it.
  await readAuthorities(caFile);
  const { tls } = await asked(seen, seen.health).catch((thrown: unknown) => {
    throw thrown instanceof NotChecked ? thrown : new NotChecked('the collector does not answer', 'see collector');
  });
  if (tls === undefined) throw new NotChecked('the collector is asked without TLS');
  if (tls.problem !== undefined && tls.validToMs > Date.now()) {
    throw new Wrong(`it is not believed: ${tls.problem}`, fixOf(tls.problem, caFile));
  }
  return certificateAge(tls.validToMs, Date.now(), 'renew it on the collector (http.tls.certificate, http.tls.key)');
}

/** By OpenSSL's word. */
function fixOf(problem: string, caFile: string | undefined): string {
  if (problem === 'CERT_NOT_YET_VALID') return clockFix;
  if (/ALTNAME|Hostname/i.test(problem)) {
    return 'have the certificate name the host of collector.url, or set collector.url to a name that it has';
  }
  return caFile === undefined
    ? 'set collector.caFile in the settings to the authority that issued it'
    : `put the authority that issued it into ${caFile}`;
}

/** The clock is the machine's, but the collector's is what it is compared with. */
export function clockPlan(seen: CollectorSeen): Plan {
  return {
    name: 'clock',
    fix: 'timedatectl set-ntp true, or with chrony: chronyc makestep',
    look: async () => {
      const { dateMs } = await believedAnswer(seen);
      if (dateMs === undefined) throw new NotChecked('the collector did not say what time it is');
      const offsetMs = dateMs - Date.now();
      if (Math.abs(offsetMs) <= limits.clockSuspectMs) {
        // The header counts whole seconds.
        return `within ${Math.ceil(Math.abs(offsetMs) / 1000) + 1} s of the collector's`;
      }
      throw new AppError('state.conflict', `${Math.round(offsetMs / 1000)} s away from the collector's clock`);
    },
  };
}

const description = z.object({ info: z.object({ version: z.string().max(64) }) });

async function lookAtVersion(seen: CollectorSeen, caFile: string | undefined): Promise<string> {
  await believedAnswer(seen);
  const url = new URL('/api/v1/openapi.json', await seen.url);
  const { status, text } = await askCollector(url, await readAuthorities(caFile));
  if (status !== 200) throw new NotChecked(`the collector does not say its version (${status})`);
  const theirs = collectorVersion(text);
  const both = `agent ${version}, collector ${theirs}`;
  switch (versionSkew(version, theirs)) {
    case 'agent_newer':
      throw new Wrong(`${both}: an agent must not be newer`, `install version ${version} of the collector`);
    case 'agent_older':
      throw new Wrong(`${both}: more than one minor version apart`, `install version ${theirs} of the agent here`);
    default:
      return both;
  }
}

function collectorVersion(text: string): string {
  try {
    return description.parse(JSON.parse(text)).info.version;
  } catch (cause) {
    throw new AppError('collector.refused', 'what the collector says of itself cannot be read', { cause });
  }
}
