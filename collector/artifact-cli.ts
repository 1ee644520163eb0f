import type { Command } from 'commander';
import type { ArtifactHashOptions, ArtifactWorld } from './commands/artifact-hash.ts';

type PerformAlone = (action: (world: ArtifactWorld) => Promise<number>) => Promise<void>;

/** The commands about artifacts. */
export function addArtifact(artifact: Command, performAlone: PerformAlone): void {
  artifact
    .command('hash <path-or-image>')
    .description('the SHA-256 of a file, of a folder, of a saved image, or of an image of the local engine')
    .option('--as <kind>', 'take it for a file, a tree or an image; otherwise it is told by what is there')
    .option('--listing <file>', 'also write the list of files that the hash of a folder is of')
    .option('--socket <path>', "the engine's; otherwise that of DOCKER_HOST, or /var/run/docker.sock")
    .action((target: string, options: ArtifactHashOptions) =>
      performAlone(async (world) => (await import('./commands/artifact-hash.ts')).artifactHash(world, target, options)),
    );
}
