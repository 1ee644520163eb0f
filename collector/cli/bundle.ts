import type { Command } from 'commander';
import type { BundleImportOptions } from '../commands/bundle-import.ts';
import type { Perform } from './options.ts';

/** The commands about bundles that are carried by hand. */
export function addBundles(program: Command, perform: Perform): void {
  const bundle = program.command('bundle').description('what is carried to nodes without a network, and back');
  bundle
    .command('import <dir>')
    .description('take in the bundles of nodes in a folder, and write beside each what its node is to get back')
    .option('--image <reference...>', "have images of this machine's engine carried along (docker save)")
    .option('--image-archive <file...>', 'the same, for archives that docker save has written')
    .option('--no-asked-images', 'do not carry along the images that nodes ask for')
    .option(
      '--max-part-bytes <bytes>',
      'size of one file of an image archive, 1048576 or more (default: 4294967295, the most that FAT32 takes)',
    )
    .action((dir: string, options: BundleImportOptions) =>
      perform(async (context) => (await import('../commands/bundle-import.ts')).bundleImport(context, dir, options)),
    );
}
