/** What a simulated program leaves behind. */
export interface ProgramRun {
  readonly output: readonly { readonly to: 'stdout' | 'stderr'; readonly text: string }[];
  /** Paths of new files. */
  readonly added: readonly string[];
  /** Undefined while it goes on. */
  readonly exitCode: number | undefined;
}

/**
 * Programs do not run; of a shell's script, `echo WORD`, `echo WORD >&2`, `echo WORD > /path` and `exit N` are done as they would be.
 * Anything else goes on until it is stopped.
 */
export function runProgram(command: readonly string[]): ProgramRun {
  const steps = command.at(-2) === '-c' ? (command.at(-1) ?? '').split(';').map((step) => step.trim()) : [];
  const echoes = steps.flatMap((step) => {
    const [, word = '', to = ''] = /^echo (\S+)(?: ?> ?(\S+))?$/.exec(step.replace('>&2', '> &2')) ?? [];
    return word === '' ? [] : [{ text: `${word}\n`, to }];
  });
  const exit = steps.map((step) => /^exit (\d+)$/.exec(step)?.[1]).find((code) => code !== undefined);
  return {
    output: echoes
      .filter(({ to }) => !to.startsWith('/'))
      .map(({ text, to }) => ({ text, to: to === '&2' ? 'stderr' : 'stdout' })),
    added: echoes.flatMap(({ to }) => (to.startsWith('/') ? [to] : [])),
    exitCode: exit === undefined ? undefined : Number(exit),
  };
}
