import type { Command } from 'commander';
import { AppError } from '../../common/errors.ts';
import { artifactKinds } from '../../common/kinds.ts';
import type { ArtifactHashOptions, ArtifactWorld } from '../commands/artifact-hash.ts';
import type { ArtifactListOptions } from '../commands/artifact-list.ts';
import type { RegisterOptions } from '../commands/artifact-register.ts';
import { oneOf, type Perform, paged } from './options.ts';

interface Performing {
  readonly perform: Perform;
  readonly performAlone: (action: (world: ArtifactWorld) => Promise<number>) => Promise<void>;
}

type HashOptions = ArtifactHashOptions & RegisterOptions & { readonly register?: true };

/** The commands about artifacts. */
export function addArtifact(program: Command, { perform, performAlone }: Performing): void {
  const artifact = program.command('artifact').description('what was built, known by its SHA-256');
  artifact
    .command('hash <path-or-image>')
    .description('the SHA-256 of a file, of a folder, of a saved image, or of an image of the local engine')
    .addOption(oneOf('--as <kind>', 'take it for this; otherwise it is told by what is there', artifactKinds))
    .option('--listing <file>', 'also write the list of files that the hash of a folder is of')
    .option('--socket <path>', "the engine's; otherwise that of DOCKER_HOST, or /var/run/docker.sock")
    .option('--register', 'also put it on record, with where it comes from')
    .option('--name <name>', 'with --register: what it is called')
    .option('--lineage <file>', 'with --register: where it comes from, as a JSON object (see docs/artifacts.md)')
    .action((target: string, { register, ...options }: HashOptions) =>
      register === true
        ? perform(async (context) =>
            (await import('../commands/artifact-register.ts')).artifactRegister(context, target, options),
          )
        : performAlone(async (world) =>
            (await import('../commands/artifact-hash.ts')).artifactHash(world, target, requireNone(options)),
          ),
    );
  paged(artifact.command('list'))
    .description('artifacts on record, those that were registered last first')
    .option('--name <name>', 'only of this name')
    .option('--image <reference>', 'as their lineage says')
    .option('--commit <id>', 'as their lineage says')
    .option('--score-below <number>', 'from 0 to 1')
    .option('--score-at-least <number>', 'from 0 to 1')
    .action((options: ArtifactListOptions) =>
      perform(async (context) => (await import('../commands/artifact-list.ts')).artifactsList(context, options)),
    );
  artifact
    .command('show <hash>')
    .description('one artifact: what was said of it, its score, and how that went in four weeks')
    .action((hash: string) =>
      perform(async (context) => (await import('../commands/artifact-show.ts')).artifactShowCommand(context, hash)),
    );
  program
    .command('sweep')
    .description('score artifacts that are new or have changed, as the collector does by itself')
    .requiredOption('--once', 'now, and not again')
    .action(() => perform(async (context) => (await import('../commands/artifact-show.ts')).sweepOnce(context)));
  program
    .command('explain <container>')
    .description('where a container, or the artifact with this hash, comes from, and what happened to it')
    .option('--node <node>', 'where several nodes have a container of this name, or it is gone')
    .action((subject: string, options: { readonly node?: string }) =>
      perform(async (context) => (await import('../commands/explain.ts')).explainCommand(context, subject, options)),
    );
}

/** What only a registration takes is forgotten by nobody silently. */
function requireNone({ name, lineage, ...options }: Omit<HashOptions, 'register'>): ArtifactHashOptions {
  if (name === undefined && lineage === undefined) return options;
  throw new AppError('validation.request', '--name and --lineage go with --register');
}
