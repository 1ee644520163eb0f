import { access, constants, stat, statfs } from 'node:fs/promises';
import { amount } from '../../common/amount.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import type { AgentSettings } from '../config.ts';
import { gitRepository } from '../desired/git.ts';

import { unreleasedForks } from '../fork-desk.ts';
import { loadIdentity } from '../identity.ts';
import { fsStoreFiles } from '../sigils/fs-store-files.ts';
import { engineOf } from '../sources.ts';
import type { StorePlace } from '../tables/table-settings.ts';

/** One thing the agent needs, and whether it is there. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found; for a failed check, what is wrong. */
  readonly detail: string;
  /** What to do about a failed check. */
  readonly fix: string | null;
}

/** Looks at everything the agent depends on. Changes nothing. */
export async function examine(settings: AgentSettings): Promise<Check[]> {
  const identity = loadIdentity(settings.dataDir);
  const collectorUrl = () =>
    identity.then(
      ({ collector }) => collector.url,
      () => Promise.reject(new NotChecked('only an enrolled node knows its collector', 'see enrolment')),
    );
  const stores = Object.entries(settings.sigils.stores);
  return Promise.all([
    check('data directory', 'enrolling makes it; let the agent run as its owner', () => dataDir(settings)),
    check('disk space', 'free space, or set a smaller outbox.maxBytes', () => diskSpace(settings)),
    check('enrolment', 'sigilwatch-agent enroll --collector URL --token TOKEN', async () => {
      const { node, collector } = await identity;
      return `${node}, with ${collector.url}`;
    }),
    check('collector', 'is the collector running, and its address reachable from here?', async () =>
      reachCollector(await collectorUrl()),
    ),
    check('witness', 'find out who changed the ledger, then: sigilwatch-agent witness release --reason TEXT', () =>
      noFork(settings),
    ),
    check('clock', 'set the clock, for example with chrony', async () => compareClock(await collectorUrl())),
    check('engine', 'is Docker running, and docker.socketPath its socket?', async () => {
      const { version } = await engineOf(settings).version();
      return `Docker ${version} at ${settings.docker.socketPath}`;
    }),
    ...(settings.manifest.repository === undefined
      ? []
      : [check('manifest', 'commit a correct one', () => readManifest(settings))]),
    ...stores.map(([name, place]) =>
      check(`sigil store ${name}`, `correct sigils.stores.${name}`, () => readStore(place)),
    ),
  ]);
}

export function doctorExitCode(checks: readonly Check[]): number {
  return checks.every(({ ok }) => ok) ? exitCodes.done : exitCodes.findings;
}

/** The checks for a person. */
export function formatChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, ok, detail, fix }) => [
    `${ok ? '✓' : '✗'} ${name.padEnd(width)}  ${detail}`,
    ...(fix === null ? [] : [`  ${''.padEnd(width)}  fix: ${fix}`]),
  ]);
  return `${lines.join('\n')}\n`;
}

/** A check that had to wait for another one to be in order. */
class NotChecked extends Error {
  readonly fix: string;

  constructor(reason: string, fix: string) {
    super(`not checked: ${reason}`);
    this.fix = fix;
  }
}

async function check(name: string, fix: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await look(), fix: null };
  } catch (thrown) {
    if (thrown instanceof NotChecked) return { name, ok: false, detail: thrown.message, fix: thrown.fix };
    return { name, ok: false, detail: toAppError(thrown).message, fix };
  }
}

async function dataDir({ dataDir }: AgentSettings): Promise<string> {
  await requireDataDir(dataDir);
  await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK).catch((cause: unknown) => {
    throw new AppError('validation.config', `${dataDir} cannot be used (${errnoOf(cause) ?? 'unknown'})`, { cause });
  });
  return `${dataDir} is there and writable`;
}

async function noFork({ dataDir }: AgentSettings): Promise<string> {
  const [fork] = await unreleasedForks(dataDir);
  if (fork === undefined) return 'the ledger has not contradicted itself';
  throw new AppError('ledger.forked', `${fork.reason} (evidence/${fork.id}.json of ${fork.at})`);
}

async function requireDataDir(dataDir: string): Promise<void> {
  const found = await stat(dataDir).catch(() => undefined);
  if (found === undefined) throw new AppError('validation.config', `${dataDir} does not exist`);
}

async function diskSpace({ dataDir, outbox }: AgentSettings): Promise<string> {
  await requireDataDir(dataDir).catch(() => {
    throw new NotChecked('there is no data directory yet', 'see data directory');
  });
  const { bavail, bsize } = await statfs(dataDir);
  const freeBytes = bavail * bsize;
  if (freeBytes < outbox.maxBytes) {
    throw new AppError(
      'outbox.full',
      `${mebibytes(freeBytes)} free, the outbox may need ${mebibytes(outbox.maxBytes)}`,
    );
  }
  return `${mebibytes(freeBytes)} free`;
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / (1024 * 1024))} MiB`;
}

async function reachCollector(url: string): Promise<string> {
  const response = await askCollector(url);
  if (!response.ok) throw new AppError('collector.unreachable', `${url} answered ${response.status}`);
  return `${url} answers`;
}

async function compareClock(url: string): Promise<string> {
  const answer = await askCollector(url).catch(() => {
    throw new NotChecked('it is compared with the collector, which does not answer', 'see collector');
  });
  const date = Date.parse(answer.headers.get('date') ?? '');
  if (Number.isNaN(date)) throw new AppError('collector.unreachable', 'the collector did not say what time it is');
  const offsetMs = date - Date.now();
  if (Math.abs(offsetMs) > limits.clockSuspectMs) {
    throw new AppError('state.conflict', `${Math.round(offsetMs / 1000)} s away from the collector's clock`);
  }
  // The header counts whole seconds.
  return `within ${Math.ceil(Math.abs(offsetMs) / 1000) + 1} s of the collector's`;
}

async function askCollector(url: string): Promise<Response> {
  try {
    return await fetch(new URL('/health', url), { signal: AbortSignal.timeout(limits.handshakeTimeoutMs) });
  } catch (cause) {
    throw new AppError('collector.unreachable', `${url} does not answer`, { cause });
  }
}

async function readManifest({ manifest }: AgentSettings): Promise<string> {
  const repository = gitRepository(manifest.repository ?? '');
  const commit = await repository.head();
  const { containers, services } = parseManifestFiles(await readCommitted(repository, commit));
  return `${amount(containers.length + services.length, 'container')} in commit ${commit.slice(0, 12)}`;
}

async function readStore(path: StorePlace): Promise<string> {
  if (typeof path !== 'string') {
    const { describeTable } = await import('../tables/table-look.ts');
    return describeTable(path.postgres);
  }
  const files = await fsStoreFiles(path).list();
  if (!files.includes('CURRENT')) throw new AppError('store.not_a_store', `${path} is not a LevelDB folder`);
  return `${path}, ${amount(files.filter((file) => /\.(ldb|sst)$/.test(file)).length, 'table')}`;
}
