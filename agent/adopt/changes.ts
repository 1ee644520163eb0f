import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Edit, editYaml } from '../../common/manifest/edit.ts';
import { type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { manifestError, mistakeOf } from '../../common/manifest/mistake.ts';
import { plainValue, readSource, valueAt } from '../../common/manifest/source.ts';
import type { Written } from '../../common/manifest/yaml-text.ts';
import { withRemarks } from './remarks.ts';

/** One change to the files of a manifest, for one container. */
export type Change = EditedEntry | AddedItem | DroppedItem;

interface OfContainer {
  readonly container: string;
  readonly file: string;
}

/** Keys of an entry that is there. */
export interface EditedEntry extends OfContainer {
  readonly kind: 'changed';
  readonly edits: readonly Edit[];
  readonly keys: readonly string[];
  /** Whether the entry counts on every node. */
  readonly everyNode: boolean;
}

/** A new item of the manifest's `containers`. */
export interface AddedItem extends OfContainer {
  readonly kind: 'added';
  readonly node: string;
  readonly item: ReadonlyMap<string, Written>;
  /** Keys that it lacks although what runs has them, for a comment above it. */
  readonly unsaid: readonly string[];
}

/** An item of the manifest's `containers` that goes, by its index. */
export interface DroppedItem extends OfContainer {
  readonly kind: 'dropped';
  readonly index: number;
}

export interface Applied {
  readonly files: ManifestFiles;
  readonly done: readonly Change[];
  readonly failed: readonly { readonly change: Change; readonly reason: string }[];
}

/**
 * Makes the changes that leave a manifest without mistakes. Those that do not are found by halving, so that one entry that
 * nobody can edit from outside costs no other one.
 * @throws AppError `validation.manifest` when the files would be larger than a manifest may be
 */
export function applyChanges(files: ManifestFiles, changes: readonly Change[]): Applied {
  // An index counts until something before it goes.
  const rank = (change: Change) => (change.kind === 'changed' ? 0 : change.kind === 'dropped' ? 1 : 2);
  const last = (change: Change) => (change.kind === 'dropped' ? change.index : 0);
  const ordered = [...changes].sort((a, b) => rank(a) - rank(b) || last(b) - last(a));
  return applied(files, ordered, { attemptsLeft: limits.maxAdoptAttempts });
}

function applied(files: ManifestFiles, changes: readonly Change[], budget: { attemptsLeft: number }): Applied {
  if (changes.length === 0) return { files, done: [], failed: [] };
  const attempt: Attempt = budget.attemptsLeft-- > 0 ? attempted(files, changes) : tooMany;
  if (attempt.ok) return { files: attempt.files, done: changes, failed: [] };
  if (changes.length === 1 || budget.attemptsLeft <= 0) {
    return { files, done: [], failed: changes.map((change) => ({ change, reason: attempt.reason })) };
  }
  const half = changes.length >> 1;
  const first = applied(files, changes.slice(0, half), budget);
  const second = applied(first.files, changes.slice(half), budget);
  return { files: second.files, done: [...first.done, ...second.done], failed: [...first.failed, ...second.failed] };
}

type Attempt = { readonly ok: true; readonly files: ManifestFiles } | { readonly ok: false; readonly reason: string };

const tooMany = { ok: false, reason: 'too many entries can only be edited by people; do some of it by hand' } as const;
const notEditable = 'its entry shares what would change with others, or is written in a way that only people can edit';

function attempted(files: ManifestFiles, changes: readonly Change[]): Attempt {
  const next = new Map(files);
  for (const file of new Set(changes.map((change) => change.file))) {
    const text = files.get(file) ?? '';
    const edits = editsOf(
      text,
      changes.filter((change) => change.file === file),
    );
    const edited = editYaml(text, edits);
    if (edited === undefined) return { ok: false, reason: notEditable };
    next.set(file, withRemarks(edited, remarksOf(changes)));
  }
  refuseLarge(next);
  try {
    parseManifestFiles(next);
  } catch (thrown) {
    const mistake = mistakeOf(thrown);
    if (mistake === undefined) throw toAppError(thrown);
    return { ok: false, reason: `the manifest would have a mistake: ${mistake.reason}` };
  }
  return { ok: true, files: next };
}

/** By container. */
function remarksOf(changes: readonly Change[]): ReadonlyMap<string, string> {
  return new Map(
    changes.flatMap((change): [string, string][] => {
      if (change.kind !== 'added' || change.unsaid.length === 0) return [];
      return [[change.container, `not said here, although it runs so: ${change.unsaid.join(', ')}`]];
    }),
  );
}

function refuseLarge(files: ManifestFiles): void {
  let bytes = 0;
  for (const text of files.values()) bytes += Buffer.byteLength(text);
  if (bytes > limits.maxManifestBytes) {
    const reason = `with what runs here, it would have more than ${limits.maxManifestBytes} bytes`;
    throw manifestError({ file: manifestFile, line: 1, column: 1, reason });
  }
}

const nothing: ReadonlyMap<number, Written> = new Map();

/** Edits of one file, one for each list and map. */
function editsOf(text: string, changes: readonly Change[]): Edit[] {
  const edits: Edit[] = changes.flatMap((change) => (change.kind === 'changed' ? change.edits : []));
  const append = changes.flatMap((change) => (change.kind === 'added' ? [change.item] : []));
  const remove = changes.flatMap((change) => (change.kind === 'dropped' ? [change.index] : []));
  if (append.length + remove.length === 0) return edits;
  const plain = plainValue(readSource(text, manifestFile));
  const whole = plain.ok ? plain.value : undefined;
  const isList = Array.isArray(valueAt(whole, ['containers']));
  if (isList) edits.push({ kind: 'list', path: ['containers'], set: nothing, append, remove });
  else edits.push({ kind: 'map', path: [], set: new Map([['containers', append]]), remove: [] });
  const nodes = valueAt(whole, ['nodes']);
  // Where nodes are named, a container's node has to be one of them.
  if (!Array.isArray(nodes) || nodes.length === 0) return edits;
  const known = new Set(nodes.map((_, i) => valueAt(nodes, [i, 'name'])));
  const unknown = new Set(changes.flatMap((change) => (change.kind === 'added' ? [change.node] : [])));
  const added = [...unknown].filter((node) => !known.has(node)).map((node) => new Map([['name', node]]));
  if (added.length > 0) edits.push({ kind: 'list', path: ['nodes'], set: nothing, append: added, remove: [] });
  return edits;
}
