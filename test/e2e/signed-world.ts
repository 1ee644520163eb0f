import { join } from 'node:path';
import { stringify } from 'yaml';
import { startPostgres } from '../postgres.ts';
import { type SshSigners, sshSigners } from '../ssh-keys.ts';
import { type ManifestRepository, makeManifestRepository, type RunningCollector, startCollector } from '../system.ts';
import { actsAtOnce } from './enforce-world.ts';
import { tearDown } from './fleet.ts';

/** A manifest by which nothing is done but what people order, and alice approves. */
export function byApproval(containers: readonly object[]) {
  return {
    ...{ ...actsAtOnce, containers },
    config: { ...actsAtOnce.config, enforcement_mode: 'passive' },
    governance: { ...actsAtOnce.governance, approvers: ['alice'] },
  };
}

/** A collector whose commits count when alice has signed them. */
export interface SignedWorld {
  readonly people: SshSigners;
  /** The first commit is hers. */
  readonly manifest: ManifestRepository;
  /** What agents and collector are told of who may sign, as environment variables. */
  readonly trust: Readonly<Record<string, string>>;
  /** All that the collector was started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly collector: RunningCollector;
  /** Everything that the test file has started ends before it. */
  stop(): Promise<void>;
}

export interface SignedWorldOptions {
  /** Of the whole test. */
  readonly folder: string;
  readonly manifest: object;
  /** Who has a key, and whom allowed_signers takes it for. */
  readonly signers?: Readonly<Record<string, string>>;
  /** More settings of the collector. */
  readonly env?: Readonly<Record<string, string>>;
}

export async function startSignedWorld(options: SignedWorldOptions): Promise<SignedWorld> {
  const { folder, signers = { alice: 'alice' } } = options;
  const people = await sshSigners(signers);
  const first = stringify(options.manifest);
  const manifest = makeManifestRepository(join(folder, 'manifest'), first, people.keyFile('alice'));
  const postgres = await startPostgres();
  const trust = { SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: people.allowedSigners };
  const places = { SIGILWATCH_MANIFEST_REPOSITORY: manifest.path, DATABASE_URL: await postgres.migratedDatabase() };
  const env = { ...trust, ...places, ...options.env };
  const collector = await startCollector({ dir: join(folder, 'collector'), env });
  const stop = async () => {
    await tearDown();
    await postgres.stop();
    await people.remove();
  };
  return { people, manifest, trust, env, collector, stop };
}
