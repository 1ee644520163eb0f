/**
 * `node --import tsx scripts/deployment/main.ts [options]`: installs or upgrades a collector and its nodes over ssh, from packages. Exit code 0
 * when all are up, 1 when something is not, 2 for a command line that makes no sense or packages that do not count.
 */
import { createInterface } from 'node:readline/promises';
import pLimit from 'p-limit';
import { type ProgramPackage, programPackages } from '../packaging/programs.ts';
import { deployCollector } from './collector.ts';
import { type CommandLine, readCommandLine, usage } from './command-line.ts';
import { DeploymentError, reasonOf } from './failure.ts';
import { type GivenFiles, readGiven } from './given.ts';
import { deployNode } from './node.ts';
import { openReleases, type Releases } from './packages.ts';
import { type Deployed, deployedJson, deployedText, isUp, progress, undeployedJson } from './progress.ts';
import { connect } from './ssh.ts';

function programOf(name: ProgramPackage['name']): ProgramPackage {
  const found = programPackages.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no package ${name}`);
  return found;
}

async function isWanted({ collector, nodes, yes }: CommandLine): Promise<boolean> {
  if (yes) return true;
  const names = nodes.map(({ name, host }) => (name === host ? name : `${name} (${host})`)).join(', ');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(
    `Install the collector on ${collector.host}, and nodes: ${names || 'none'}? [y/N] `,
  );
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function deploy(options: CommandLine, { releases, given }: Begun): Promise<Deployed> {
  const { nodes, collector, parallel } = options;
  const collectorName = 'collector';
  const tell = progress([collectorName, ...nodes.map(({ name }) => name)], (text) => process.stderr.write(text));
  const place = (name: string) => ({ say: (step: string) => tell(name, step) });
  const ready = await deployCollector(
    { ...place(collectorName), program: programOf('sigilwatch-collector'), remote: connect(collector, options) },
    releases,
    { options, given },
  );
  const limit = pLimit(parallel);
  const program = programOf('sigilwatch-agent');
  const done = nodes.map((machine) =>
    limit(async () => {
      const startedMs = performance.now();
      const there = { ...place(machine.name), program, node: machine.name, remote: connect(machine, options) };
      const outcome = await deployNode(there, ready, { releases, options, given });
      return { node: machine.name, seconds: Math.round((performance.now() - startedMs) / 100) / 10, outcome };
    }),
  );
  return { collector: { url: ready.url, version: ready.version }, nodes: await Promise.all(done) };
}

/** What has to be in order before anything is done anywhere. */
interface Begun {
  readonly releases: Releases;
  readonly given: GivenFiles;
}

/** Undefined, and said, for what makes no sense. */
async function begin(): Promise<(Begun & { readonly options: CommandLine }) | undefined> {
  try {
    const options = readCommandLine(process.argv.slice(2), process.env.SIGILWATCH_CALLED_FROM ?? process.cwd());
    if (!options.yes && !process.stdin.isTTY) throw new DeploymentError('there is nobody to ask; say --yes');
    const given = await readGiven(options);
    return { options, given, releases: await openReleases(options.packages, options.signers) };
  } catch (thrown) {
    if (!(thrown instanceof DeploymentError)) throw thrown;
    process.stderr.write(`deploy: ${thrown.message}\n`);
    return undefined;
  }
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(usage);
    return 0;
  }
  const begun = await begin();
  if (begun === undefined) return 2;
  const { options } = begun;
  if (!(await isWanted(options))) return 1;
  const { signedBy } = begun.releases;
  process.stderr.write(
    signedBy === undefined
      ? 'packages: by their sums; no signature was asked for\n'
      : `packages: signed by ${signedBy}\n`,
  );
  const deployed = await deploy(options, begun).catch((thrown: unknown) => {
    if (options.json && thrown instanceof DeploymentError) process.stdout.write(undeployedJson(thrown));
    throw thrown;
  });
  process.stdout.write(options.json ? deployedJson(deployed) : deployedText(deployed));
  return deployed.nodes.every(isUp) ? 0 : 1;
}

process.exitCode = await main().catch((thrown: unknown) => {
  const known = thrown instanceof DeploymentError;
  process.stderr.write(
    `deploy: ${known || !(thrown instanceof Error) ? reasonOf(thrown) : (thrown.stack ?? thrown.message)}\n`,
  );
  return 1;
});
