import type { Command } from 'commander';
import type { AnnounceOptions, ChangeOptions } from '../commands/changes-announce.ts';
import type { ChangesListOptions } from '../commands/changes-list.ts';
import { oneOf, type Perform } from './options.ts';

/** The commands about changes that are announced. */
export function addChanges(program: Command, perform: Perform): void {
  const changes = program.command('changes').description('changes of images that are announced, and so expected');
  said(changes.command('announce').description('expect that a container gets another image'))
    .requiredOption('--as <name>', 'who announces it, as in allowed_signers')
    .option('--key <file>', 'SSH key to sign with')
    .option('--signature <file>', 'a signature of the text that was made elsewhere')
    .option('--allowed-signers <file>', 'OpenSSH allowed_signers file; without it, that of the settings')
    .action((options: AnnounceOptions) =>
      perform(async (context) => (await import('../commands/changes-announce.ts')).changesAnnounce(context, options)),
    );
  said(changes.command('text').description('print what is signed, for ssh-keygen -Y sign -n sigilwatch-change')).action(
    (options: ChangeOptions) =>
      perform(async (context) => (await import('../commands/changes-announce.ts')).changesText(context, options)),
  );
  changes
    .command('list')
    .description('announced changes')
    .addOption(oneOf('--state <state>', 'all: those that are over, too', ['standing', 'all'], 'standing'))
    .action((options: ChangesListOptions) =>
      perform(async (context) => (await import('../commands/changes-list.ts')).changesList(context, options)),
    );
}

function said(command: Command): Command {
  return command
    .requiredOption('--node <node>', 'on which node, or * for all of them')
    .requiredOption('--container <name>', 'which container')
    .requiredOption('--becomes <image>', 'a reference, or sha256: and the id of the image')
    .requiredOption('--before <time>', 'until when, such as 2026-11-20T18:00:00Z, +90m or "in 2 hours"');
}
