import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { tarballOf } from '../../scripts/packaging/formats.ts';
import { sha256 } from '../../scripts/packaging/manifest.ts';
import { type ProgramPackage, programPackages } from '../../scripts/packaging/programs.ts';
import { packagedSeconds, quickly, type Workshop } from '../packages/packaged.ts';
import { projectRoot } from '../system/program.ts';
import type { Network, Reached } from './network.ts';

/** What `scripts/deploy --json` says when the collector is up. */
export const deployedResult = z.object({
  collector: z.object({ url: z.string(), version: z.string() }),
  nodes: z.array(
    z.object({
      node: z.string(),
      seconds: z.number(),
      state: z.enum(['up', 'installed', 'rolled-back', 'failed']),
      version: z.string().nullish(),
      fingerprint: z.string().optional(),
      report_index: z.int().nullish(),
      reason: z.string().optional(),
    }),
  ),
});

interface Made {
  readonly numbered: string;
  readonly from?: string;
}

/** A tarball for each program, as scripts/package makes it but quickly, and the sums of all that lies in the folder then. */
export async function release(workshop: Workshop, to: string, made: Partial<Record<ProgramPackage['name'], Made>>) {
  mkdirSync(to, { recursive: true });
  for (const program of programPackages) {
    const { numbered, from } = made[program.name] ?? {};
    if (numbered === undefined) continue;
    const built = await workshop.build(program, { version: numbered, ...(from !== undefined && { root: from }) });
    const { name, bytes } = await tarballOf(built, packagedSeconds, quickly);
    writeFileSync(join(to, name), bytes);
  }
  const tarballs = readdirSync(to).filter((name) => name.endsWith('.tar.gz'));
  const sums = tarballs.map((name) => `${sha256(readFileSync(join(to, name)))}  ${name}\n`);
  writeFileSync(join(to, 'SHA256SUMS'), sums.join(''));
}

/** The project as it would be with an agent whose commands work, and that does not start. */
export function brokenProject(at: string): string {
  for (const name of ['dist', 'docs', 'systemd', 'LICENSE', 'README.md']) {
    cpSync(join(projectRoot, name), join(at, name), { recursive: true });
  }
  const agent = join(at, 'dist/sigilwatch-agent.js');
  const [first = '', ...rest] = readFileSync(agent, 'utf8').split('\n');
  const ends = "if (process.argv.includes('run')) { console.error('there is nothing to run'); process.exit(70); }";
  writeFileSync(agent, [first, ends, ...rest].join('\n'));
  return at;
}

interface Deployment {
  readonly network: Network;
  readonly hub: Pick<Reached, 'address'>;
  /** Their folder. */
  readonly packages: string;
  readonly knownHosts?: string | undefined;
}

/** Runs `scripts/deploy` from within a network. */
export function deployIn({ network, hub, packages, knownHosts }: Deployment, more: readonly string[]) {
  return network.run(join(projectRoot, 'scripts/deploy'), [
    ...['--collector', `root@${hub.address}`, '--packages', packages, '--identity', network.identity],
    ...['--ssh-option', `UserKnownHostsFile=${knownHosts ?? network.knownHosts}`],
    ...['--ssh-option', 'StrictHostKeyChecking=yes', '--yes', '--json', ...more],
  ]);
}
