import type { CompletedCommand, CompletedValue } from './completed.ts';

/**
 * For bash 3.2 and later. Walks the words before the cursor to the command that they name, past options and their values. An
 * option's value may be a word of its own, or follow a `=`, which bash makes a word of its own.
 */
export function bashScript(program: string, commands: readonly CompletedCommand[]): string {
  const name = `_${program.replaceAll('-', '_')}`;
  return `# bash completion of ${program}

${name}_words() {
  case "$1" in
${caseLines(commands.map(({ path, commands: subs }) => [quoted(path), subs.map(({ word }) => word).join(' ')]))}
  esac
}

${name}_flags() {
  case "$1" in
${caseLines(commands.map(({ path, options }) => [quoted(path), options.flatMap(({ flags }) => flags).join(' ')]))}
  esac
}

# What follows an option, or stands in the place of arguments: words, @file or @anything; nothing when nothing does.
${name}_value() {
  case "$1" in
${caseLines(valuesOf(commands))}
  esac
}

${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} path= option= value= word at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    if [[ $word == = ]]; then continue; fi
    if [[ -n $option ]]; then option=; continue; fi
    if [[ $word == -* ]]; then
      if [[ -n $(${name}_value "$path:$word") ]]; then option=$word; fi
    elif [[ " $(${name}_words "$path") " == *" $word "* ]]; then
      path="\${path:+$path }$word"
    fi
  done
  if [[ $current == = ]]; then current=; fi
  if [[ -n $option ]]; then
    value=$(${name}_value "$path:$option")
  elif [[ $current == -* ]]; then
    value=$(${name}_flags "$path")
  else
    value="$(${name}_words "$path") $(${name}_value "$path:")"
  fi
  case "$value" in
    *@file*) compopt -o default 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
    *@anything*) ;;
    *) COMPREPLY=($(compgen -W "$value" -- "$current")) ;;
  esac
}

complete -F ${name} ${program}
`;
}

type Case = readonly [pattern: string, text: string];

function caseLines(cases: readonly Case[]): string {
  return cases
    .filter(([, text]) => text !== '')
    .map(([pattern, text]) => `    ${pattern}) echo ${quoted(text)} ;;`)
    .join('\n');
}

function valuesOf(commands: readonly CompletedCommand[]): readonly Case[] {
  return commands.flatMap(({ path, options, value }) => [
    ...options.flatMap(({ flags, value: its }): Case[] =>
      its === undefined ? [] : [[flags.map((flag) => quoted(`${path}:${flag}`)).join('|'), told(its)]],
    ),
    [quoted(`${path}:`), told(value)] satisfies Case,
  ]);
}

function told(value: CompletedValue): string {
  return typeof value === 'string' ? `@${value}` : value.join(' ');
}

/** Between single quotes everything stands for itself. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
