import {
  type ConfigChecks,
  configDifferences,
  type MadeContainer,
  ownVolumes,
  withoutToolLabels,
} from '../../common/config-drift.ts';
import type { WantedConfig, WantedFiles } from '../../common/container-config.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { isLaterPatch } from '../../common/drift.ts';
import { sameImage } from '../../common/image.ts';
import { collectionAt, type Edit } from '../../common/manifest/edit.ts';
import type { YamlPath } from '../../common/manifest/place.ts';
import { type Source, valueAt } from '../../common/manifest/source.ts';
import { type ConfigKey, configKeys, spelledKey, writtenKey } from '../../common/manifest/written.ts';
import type { Written } from '../../common/manifest/yaml-text.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { programsOf, type Untold } from './own-config.ts';
import type { MayWrite } from './secrets.ts';

/** Where a container is wanted: an item of the manifest's list, or a service of a compose file. */
export interface Entry {
  readonly source: Source;
  /** The whole file as a plain value. */
  readonly plain: unknown;
  /** Of the entry's own map. */
  readonly path: YamlPath;
  readonly isService: boolean;
}

/** What has to change in an entry so that what runs is what it wants. */
export interface EntryChange {
  readonly edits: readonly Edit[];
  /** Keys that differ and are set. */
  readonly keys: readonly string[];
  readonly untold: readonly Untold[];
}

/** A container as it was seen; `made` is undefined when its image is not known. */
export interface SeenContainer {
  readonly container: ObservedContainer;
  readonly made: MadeContainer | undefined;
}

export interface Judgement {
  readonly checks: ConfigChecks;
  readonly newerPatches: boolean;
  readonly mayWrite: MayWrite;
}

/** Exactly the keys in which a container differs from its entry, and in maps and lists exactly the items. */
export function changeOf(entry: Entry, wanted: DesiredContainer, seen: SeenContainer, judge: Judgement): EntryChange {
  const change = { entry, judge, set: new Map<string, Written>(), inner: [] as Edit[], untold: [] as Untold[] };
  const keys: string[] = [];
  const isAllowed = judge.newerPatches && isLaterPatch(wanted, seen.container);
  if (!isAllowed && !sameImage(wanted.image, seen.container.image)) {
    change.set.set('image', said(entry, seen.container.image));
  }
  if (wanted.imageId !== null && wanted.imageId !== seen.container.imageId) {
    change.set.set('image_sha', seen.container.imageId);
  }
  keys.push(...change.set.keys());
  const { made } = seen;
  if (made !== undefined) {
    if (setFiles(change, wanted.mountedFiles ?? {}, made)) keys.push('mounted_files');
    const differing = configKeys.filter((key) => differs(key, wanted.config, made, judge.checks));
    for (const key of differing) setKey(change, key, wanted.config, made);
    keys.push(...differing.filter((key) => !change.untold.some((one) => one.key === key && one.name === undefined)));
  }
  const { set, inner, untold } = change;
  const own: Edit[] = set.size === 0 ? [] : [{ kind: 'map', path: entry.path, set, remove: [] }];
  const edits = [...own, ...inner];
  return { edits, keys: edits.length === 0 ? [] : keys, untold };
}

interface Change {
  readonly entry: Entry;
  readonly judge: Judgement;
  /** Keys of the entry's own map. */
  readonly set: Map<string, Written>;
  /** Inside its maps and lists. */
  readonly inner: Edit[];
  readonly untold: Untold[];
}

const never: ConfigChecks = { environment: 'never', ports: 'never', volumes: 'never' };

/** Key by key, since only so many differences are told at once. */
function differs(key: ConfigKey, wanted: WantedConfig, made: MadeContainer, checks: ConfigChecks): boolean {
  const isProgram = key === 'command' || key === 'entrypoint';
  const alone: WantedConfig = isProgram
    ? {
        ...(wanted.command && { command: wanted.command }),
        ...(wanted.entrypoint && { entrypoint: wanted.entrypoint }),
      }
    : { [key]: wanted[key] };
  const check = key === 'environment' || key === 'ports' || key === 'volumes' ? { [key]: checks[key] } : {};
  const found = configDifferences(alone, made, { ...never, ...check });
  return found.some(({ field }) => field === key || field.startsWith(`${key}.`));
}

function setKey(change: Change, key: ConfigKey, wanted: WantedConfig, made: MadeContainer): void {
  if (key === 'command' || key === 'entrypoint') setPrograms(change, wanted, made);
  else if (key === 'environment' || key === 'labels') setTexts(change, key, wanted, made);
  else if (key === 'ports' || key === 'volumes' || key === 'cap_add' || key === 'cap_drop')
    setList(change, key, wanted, made);
  else if (key === 'network_mode' && valueAt(change.entry.plain, [...change.entry.path, 'networks']) !== undefined) {
    change.untold.push(unwritable(key));
  } else setWhole(change, key, made.config[key]);
}

/** The content that is mounted now, where it could be read. */
function setFiles({ entry, inner }: Change, wanted: WantedFiles, { files }: MadeContainer): boolean {
  const read = [...(files ?? [])].filter(([path, seen]) => seen?.startsWith('sha256:') && seen !== wanted[path]);
  if (read.length === 0) return false;
  const path = [...entry.path, entry.isService ? 'x-mounted-files' : 'mounted_files'];
  inner.push({ kind: 'map', path, set: new Map(read.map(([file, seen]) => [file, seen ?? ''])), remove: [] });
  return true;
}

function setWhole(change: Change, key: ConfigKey, value: MadeContainer['config'][ConfigKey]): void {
  const written = writtenKey(key, value);
  if (written === undefined) change.untold.push(unwritable(key));
  else change.set.set(nameOf(change.entry, key), said(change.entry, written));
}

function setPrograms(change: Change, { command, entrypoint }: WantedConfig, made: MadeContainer): void {
  const { words } = change.judge.mayWrite;
  const programs = programsOf(made, { ...(command && { command }), ...(entrypoint && { entrypoint }) });
  const secret = (['entrypoint', 'command'] as const).filter((key) => !words(key, programs[key] ?? []));
  for (const key of secret) {
    if (change.untold.some((one) => one.key === key)) continue;
    change.untold.push({ key, name: undefined, why: 'secret', wholeKey: false });
  }
  if (secret.length > 0) return;
  if (programs.entrypoint !== undefined) setWhole(change, 'entrypoint', programs.entrypoint);
  if (programs.command !== undefined) setWhole(change, 'command', programs.command);
}

type Texts = Readonly<Record<string, string>>;

function setTexts(change: Change, key: 'environment' | 'labels', wanted: WantedConfig, made: MadeContainer): void {
  const { entry, judge, inner, untold } = change;
  const strip = key === 'labels' ? withoutToolLabels : (texts: Texts) => texts;
  const [said_, brought, seen] = [strip(wanted[key] ?? {}), made.image[key], strip(made.config[key])];
  const at = (texts: Texts, name: string) => (Object.hasOwn(texts, name) ? texts[name] : undefined);
  const names = new Set([said_, brought, seen].flatMap((texts) => Object.keys(texts)));
  const set = new Map<string, string>();
  const remove: string[] = [];
  const leave = (name: string, why: Untold['why']) => untold.push({ key, name, why, wholeKey: false });
  for (const name of [...names].sort()) {
    const value = at(seen, name);
    if ((at(said_, name) ?? at(brought, name)) === value) continue;
    if (value === undefined && at(brought, name) !== undefined) leave(name, 'unset');
    else if (value === undefined) remove.push(name);
    else if (!judge.mayWrite.value(name, value)) leave(name, 'secret');
    else if (writtenKey(key, { [name]: value }) === undefined) leave(name, 'unwritable');
    else set.set(name, value);
  }
  if (set.size + remove.length === 0) return;
  const path = [...entry.path, key];
  const node = collectionAt(entry.source.document, path);
  const raw = valueAt(entry.plain, path);
  if (node === undefined) {
    const kept = Object.entries(said_).filter(([name]) => !remove.includes(name) && !set.has(name));
    change.set.set(key, said(entry, new Map([...kept, ...set])));
  } else if (Array.isArray(raw)) {
    inner.push(listedTexts(entry, path, raw, { set, remove }));
  } else {
    const values = new Map([...set].map(([name, value]) => [name, said(entry, value)]));
    inner.push({ kind: 'map', path, set: values, remove });
  }
}

/** In a list of `NAME=value` the last one of a name counts. */
function listedTexts(
  entry: Entry,
  path: YamlPath,
  raw: readonly unknown[],
  { set, remove }: { readonly set: ReadonlyMap<string, string>; readonly remove: readonly string[] },
): Edit {
  const names = raw.map((item) => String(item).split('=', 1)[0] ?? '');
  const assigned = (name: string, value: string) => said(entry, `${name}=${value}`);
  const placed = [...set].filter(([name]) => names.includes(name));
  return {
    kind: 'list',
    path,
    set: new Map(placed.map(([name, value]) => [names.lastIndexOf(name), assigned(name, value)])),
    remove: [...names.keys()].filter((i) => remove.includes(names[i] ?? '')),
    append: [...set].filter(([name]) => !names.includes(name)).map(([name, value]) => assigned(name, value)),
  };
}

type ListKey = 'ports' | 'volumes' | 'cap_add' | 'cap_drop';

/** Items that mean only what runs stay; a range of ports of which a part does not is written anew, one by one. */
function setList(change: Change, key: ListKey, wanted: WantedConfig, made: MadeContainer): void {
  const { entry, inner, untold } = change;
  const observed = key === 'volumes' ? ownVolumes(made, wanted.volumes) : made.config[key];
  const path = [...entry.path, key];
  const raw = valueAt(entry.plain, path);
  if (collectionAt(entry.source.document, path) === undefined || !Array.isArray(raw)) {
    setWhole(change, key, observed);
    return;
  }
  const meant = raw.map((item: unknown) => meaningOf(entry, key, item));
  if (meant.includes(undefined)) {
    untold.push(unwritable(key));
    return;
  }
  const stale = [...meant.keys()].filter((i) => !meant[i]?.every((one) => observed.includes(one)));
  const kept = new Set(meant.flatMap((all, i) => (stale.includes(i) ? [] : (all ?? []))));
  const missing = writtenKey(
    key,
    observed.filter((one) => !kept.has(one)),
  );
  if (missing === undefined || !Array.isArray(missing)) untold.push(unwritable(key));
  else
    inner.push({
      kind: 'list',
      path,
      set: new Map(),
      append: missing.map((one: Written) => said(entry, one)),
      remove: stale,
    });
}

/** What one item of a list stands for; undefined when that depends on the rest of a compose file. */
function meaningOf({ isService }: Entry, key: ListKey, item: unknown): readonly string[] | undefined {
  if (isService && JSON.stringify(item)?.includes('$')) return undefined;
  const spelled = spelledKey(key, [item]);
  if (!Array.isArray(spelled)) return undefined;
  const isOfProject = isService && key === 'volumes' && !spelled.every((mount) => /^[/:]/.test(mount));
  return isOfProject ? undefined : spelled;
}

function unwritable(key: ConfigKey): Untold {
  return { key, name: undefined, why: 'unwritable', wholeKey: false };
}

function nameOf({ isService }: Entry, key: ConfigKey): string {
  return isService && key === 'restart_policy' ? 'restart' : key;
}

/** Compose puts variables in where a dollar stands; the manifest takes it as it is. */
function said(entry: Entry, written: Written): Written {
  if (!entry.isService || typeof written === 'number' || typeof written === 'boolean') return written;
  if (typeof written === 'string') return written.replaceAll('$', '$$$$');
  if (written instanceof Map) return new Map([...written].map(([name, value]) => [name, said(entry, value)]));
  return [...written.values()].map((value: Written) => said(entry, value));
}
