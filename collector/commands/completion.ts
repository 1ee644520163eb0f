import type { Command } from 'commander';
import { exitCodes } from '../../common/exit-codes.ts';
import { completedCommands } from './completed.ts';
import { bashScript } from './completion-bash.ts';
import { zshScript } from './completion-zsh.ts';
import type { CommandOutput } from './context.ts';

export type CompletedShell = 'bash' | 'zsh';

/** Prints a script that makes a shell complete the commands of `program`; nodes and other names are not looked up. */
export async function completion(
  { stdout }: { readonly stdout: CommandOutput },
  program: Command,
  shell: CompletedShell,
): Promise<number> {
  const commands = completedCommands(program);
  stdout.write(shell === 'bash' ? bashScript(program.name(), commands) : zshScript(program.name(), commands));
  return exitCodes.done;
}
