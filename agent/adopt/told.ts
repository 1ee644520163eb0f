import { printable, printableLines } from '../../common/printable.ts';
import type { Change } from './changes.ts';
import type { Untold } from './own-config.ts';
import type { Adoption, LeftAlone } from './plan.ts';

/** What could not be looked at. */
export interface NotSeen {
  readonly part: string;
  readonly code: string;
  readonly message: string;
}

export interface Told extends Adoption {
  readonly node: string;
  /** Null when the repository has none yet. */
  readonly commit: string | null;
  readonly errors: readonly NotSeen[];
}

type UntoldOf = Untold & { readonly container: string };

/** What was found and is to change, for a person. */
export function formatAdoption(told: Told, isNew: boolean): string {
  const { changes, left, untold, drifts, errors } = told;
  const from = told.commit === null ? 'no commit yet' : `commit ${told.commit.slice(0, 12)}`;
  const lines = [`node ${told.node}, ${from}: ${summary(told, isNew)}`];
  lines.push(...changes.map((change) => `  ${change.kind}  ${whatChanged(change)}`));
  lines.push(...section('left alone:', left.map(formatLeft)));
  lines.push(...secretsSection(untold.filter(({ why }) => why === 'secret')));
  const others = untold.filter(({ why }) => why !== 'secret');
  lines.push(
    ...section(
      'not said:',
      others.map((one) => `${nameOf(one)}: ${reasons[one.why]}${consequence(one)}`),
    ),
  );
  const standing = drifts.map(({ kind, container, differences }) => {
    const fields = [...new Set(differences.map(({ field }) => field))].join(', ');
    return `${kind}  ${container}  ${fields}`;
  });
  lines.push(...section('would still drift:', standing));
  lines.push(...errors.map(({ part, code, message }) => `could not look at ${part}: ${message} (${code})`));
  return printableLines(`${lines.map((line) => printable(line)).join('\n')}\n`);
}

function summary({ changes, drifts, errors }: Told, isNew: boolean): string {
  const count = (kind: Change['kind']) => changes.filter((change) => change.kind === kind).length;
  if (changes.length > 0) return `${count('added')} added, ${count('changed')} changed, ${count('dropped')} dropped`;
  if (isNew) return 'a manifest in which nothing is wanted';
  return drifts.length + errors.length === 0 ? 'nothing to do, everything is as it is wanted' : 'nothing to change';
}

/** Message of the commit. */
export function commitMessage({ node, changes, untold }: Told, isNew: boolean): string {
  const of = (kind: Change['kind']) => changes.filter((change) => change.kind === kind).map(whatChanged);
  const secret = untold.filter(({ why }) => why === 'secret').map(nameOf);
  const others = untold.filter(({ why }) => why !== 'secret').map((one) => `${nameOf(one)}: ${reasons[one.why]}`);
  const body = [
    ...(isNew ? ['There was no manifest; this one only watches.', ''] : []),
    ...paragraph('Added:', of('added')),
    ...paragraph('Changed:', of('changed')),
    ...paragraph('Not wanted any more:', of('dropped')),
    ...paragraph('Not written, since it looks secret:', secret),
    ...paragraph('Not written, although it runs so:', others),
  ];
  return `manifest: take over what runs on ${node}\n\n${body.join('\n').trimEnd()}\n`;
}

function paragraph(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [title, ...items.map((item) => `- ${printable(item)}`), ''];
}

function section(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [title, ...items.map((item) => `  ${item}`)];
}

function whatChanged(change: Change): string {
  if (change.kind === 'dropped') return change.container;
  if (change.kind === 'added') return `${change.container} (${String(change.item.get('image'))})`;
  const everywhere = change.everyNode ? '; the entry counts on every node' : '';
  return `${change.container}: ${change.keys.join(', ')} (${change.file}${everywhere})`;
}

function formatLeft({ container, file, line, reason }: LeftAlone): string {
  return `${container}: ${reason}${file === null ? '' : ` (${file}:${line ?? 1})`}`;
}

const reasons: Readonly<Record<Untold['why'], string>> = {
  secret: 'it looks secret',
  unset: 'the container lacks it and its image sets it, which no manifest can say',
  unwritable: 'no manifest can say it as it is',
  foreign: 'no manifest has a key for it; a container that is made anew is without it',
  image: 'the engine does not have the image any more, so nobody knows what of this is its own',
};

function secretsSection(secrets: readonly UntoldOf[]): string[] {
  if (secrets.length === 0) return [];
  return [
    ...section(
      'not written, since it looks secret and git keeps it for ever:',
      secrets.map((one) => `${nameOf(one)}${consequence(one)}`),
    ),
    '  What is no secret: --with-secrets=NAME,NAME (all: --with-secrets). What is one: into a mounted file, then adopt again.',
  ];
}

function nameOf({ container, key, name }: UntoldOf): string {
  return `${container}: ${key}${name === undefined ? '' : `.${name}`}`;
}

function consequence({ key, name, wholeKey }: UntoldOf): string {
  return wholeKey && name !== undefined ? `; ${key} is left out as a whole, and not judged` : '';
}
