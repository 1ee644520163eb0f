import type { CompletedCommand, CompletedOption, CompletedValue } from './completed.ts';
import { quoted } from './completion-bash.ts';

/** For zsh 5 and later, sourced or as a file `_<program>` in fpath. As the one for bash, with descriptions. */
export function zshScript(program: string, commands: readonly CompletedCommand[]): string {
  const name = `_${program.replaceAll('-', '_')}`;
  return `#compdef ${program}
# zsh completion of ${program}

${name}_words() {
  case "$1" in
${cases(commands.map((one) => [one.path, one.commands.map(({ word, description }) => described(word, description))]))}
    *) reply=() ;;
  esac
}

${name}_flags() {
  case "$1" in
${cases(commands.map(({ path, options }) => [path, options.flatMap(describedFlags)]))}
    *) reply=() ;;
  esac
}

# What follows an option, or stands in the place of arguments: words, @file or @anything; nothing when nothing does.
${name}_value() {
  case "$1" in
${cases(commands.flatMap(valuesOf))}
    *) reply=() ;;
  esac
}

${name}() {
  local current=$words[CURRENT] route= option= word
  local -a reply
  integer at
  for ((at = 2; at < CURRENT; at++)); do
    word=$words[at]
    if [[ -n $option ]]; then option=; continue; fi
    if [[ $word == -* ]]; then
      ${name}_value "$route:$word"
      if (($#reply > 0)); then option=$word; fi
      continue
    fi
    ${name}_words $route
    if ((\${reply[(I)$word:*]} > 0)); then route="\${route:+$route }$word"; fi
  done
  if [[ -z $option && $current == --*=* ]]; then
    option=\${current%%=*}
    compset -P '*='
  fi
  if [[ -n $option ]]; then
    ${name}_value "$route:$option"
    ${name}_add
  elif [[ $current == -* ]]; then
    ${name}_flags $route
    _describe -o option reply
  else
    ${name}_words $route
    if (($#reply > 0)); then _describe command reply; fi
    ${name}_value "$route:"
    ${name}_add
  fi
}

${name}_add() {
  case "$reply" in
    @file) _files ;;
    @anything | '') ;;
    *) compadd -a reply ;;
  esac
}

if [[ $funcstack[1] == ${name} || $zsh_eval_context[-1] == loadautofunc ]]; then
  ${name} "$@"
else
  compdef ${name} ${program}
fi
`;
}

type Case = readonly [pattern: string, words: readonly string[]];

function cases(all: readonly Case[]): string {
  return all
    .filter(([, words]) => words.length > 0)
    .map(([pattern, words]) => `    ${quoted(pattern)}) reply=(${words.map(quoted).join(' ')}) ;;`)
    .join('\n');
}

function valuesOf({ path, options, value }: CompletedCommand): readonly Case[] {
  return [
    ...options.flatMap(({ flags, value: its }) =>
      its === undefined ? [] : flags.map((flag): Case => [`${path}:${flag}`, told(its)]),
    ),
    [`${path}:`, told(value)],
  ];
}

function told(value: CompletedValue): readonly string[] {
  return typeof value === 'string' ? [`@${value}`] : value;
}

function describedFlags({ flags, description }: CompletedOption): readonly string[] {
  return flags.map((flag) => described(flag, description));
}

/** As `_describe` takes it: the first colon ends the word. */
function described(word: string, description: string): string {
  return `${word}:${description}`;
}
