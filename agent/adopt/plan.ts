import type { DesiredContainer, DesiredState } from '../../common/desired.ts';
import { type Drift, diff, type ObservedState } from '../../common/drift.ts';
import { clip } from '../../common/fields.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { parseCompose } from '../../common/manifest/compose.ts';
import { isComposeFile, type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import { type Manifest, manifestFile } from '../../common/manifest/manifest.ts';
import { placeOf } from '../../common/manifest/place.ts';
import { plainValue, readSource } from '../../common/manifest/source.ts';
import type { Written } from '../../common/manifest/yaml-text.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { standstill } from '../../common/standing.ts';
import type { SeenCreation } from '../docker/creation-json.ts';
import { applyChanges, type Change } from './changes.ts';
import { changeOf, type Entry } from './entry.ts';
import { ownConfig, type Seen, type Untold } from './own-config.ts';
import { type OwnCreation, ownCreation } from './own-creation.ts';
import type { MayWrite } from './secrets.ts';

export interface PlanOptions {
  readonly node: string;
  readonly mayWrite: MayWrite;
  /** Whether wanted containers of which there is none are to be wanted no more. */
  readonly dropMissing: boolean;
}

/** What was seen on the node, as the manifest is judged by it. */
export interface SeenNode {
  readonly state: ObservedState;
  /** By container id; also of those whose image is not known. */
  readonly seen: ReadonlyMap<string, Seen>;
  /** By container id; of those whose image is known. */
  readonly creations: ReadonlyMap<string, SeenCreation>;
}

/** A container that drifts and is left as it is. */
export interface LeftAlone {
  readonly container: string;
  /** Where it is wanted; null for one that nobody wants. */
  readonly file: string | null;
  readonly line: number | null;
  readonly reason: string;
}

/** What would become of the manifest. */
export interface Adoption {
  readonly files: ManifestFiles;
  readonly changes: readonly Change[];
  readonly left: readonly LeftAlone[];
  /** What runs and the new manifest does not say. */
  readonly untold: readonly (Untold & { readonly container: string })[];
  /** What would still drift. */
  readonly drifts: readonly Drift[];
}

/** Turns what runs into the least change of the manifest that has nothing drift any more. Pure. */
export function planAdoption(files: ManifestFiles, node: SeenNode, options: PlanOptions): Adoption {
  const manifest = parseManifestFiles(files);
  const desired = compileDesired(manifest, options.node);
  const drifts = diff(desired, node.state);
  const draft = { left: [] as LeftAlone[], untold: [] as (Untold & { container: string })[] };
  const world: World = {
    ...options,
    files,
    manifest,
    desired,
    ...node,
    entries: entriesOf(files, manifest, options.node),
  };
  const changes = containersOf(drifts).flatMap((its) => {
    const change = changeFor(world, its);
    draft.untold.push(...change.untold.map((one) => ({ ...one, container: its.container })));
    if (change.left !== undefined) draft.left.push(change.left);
    return change.change ?? [];
  });
  const { files: edited, done, failed } = applyChanges(files, changes);
  for (const { change, reason } of failed) {
    const entry = change.kind === 'added' ? undefined : world.entries.get(change.container);
    draft.left.push({ container: change.container, ...standsAt(entry), reason });
  }
  const after = compileDesired(parseManifestFiles(edited), options.node);
  return { files: edited, changes: done, ...draft, drifts: diff(after, node.state) };
}

interface World extends SeenNode, PlanOptions {
  readonly files: ManifestFiles;
  readonly manifest: Manifest;
  readonly desired: DesiredState;
  /** Of the containers wanted on this node, by their names. */
  readonly entries: ReadonlyMap<string, WantedEntry>;
}

interface WantedEntry extends Entry {
  readonly everyNode: boolean;
  /** Among the manifest's `containers`; undefined for a service. */
  readonly index: number | undefined;
}

function entriesOf(files: ManifestFiles, manifest: Manifest, node: string): ReadonlyMap<string, WantedEntry> {
  const entries = new Map<string, WantedEntry>();
  const opened = (file: string): Pick<Entry, 'source' | 'plain'> => {
    const source = readSource(files.get(file) ?? '', file);
    const plain = plainValue(source);
    return { source, plain: plain.ok ? plain.value : undefined };
  };
  const own = opened(manifestFile);
  for (const [index, said] of manifest.containers.entries()) {
    if (said.type !== 'docker' || (said.node ?? node) !== node) continue;
    const path = ['containers', index];
    entries.set(said.name, { ...own, path, isService: false, everyNode: said.node === undefined, index });
  }
  for (const file of [...files.keys()].filter(isComposeFile)) {
    const compose = opened(file);
    const { containers } = parseCompose({ path: file, text: files.get(file) ?? '' }, (path) => files.get(path));
    for (const said of containers.filter((wanted) => (wanted.node ?? node) === node)) {
      const path = ['services', said.service];
      const everyNode = said.node === undefined;
      entries.set(said.name, { ...compose, path, isService: true, everyNode, index: undefined });
    }
  }
  return entries;
}

interface DriftsOfContainer {
  readonly container: string;
  readonly drifts: readonly Drift[];
}

/** By container, in the order of their names; two that nobody wants have different names, too. */
function containersOf(drifts: readonly Drift[]): DriftsOfContainer[] {
  const names = [...new Set(drifts.map(({ container }) => container))].sort();
  return names.map((container) => ({ container, drifts: drifts.filter((drift) => drift.container === container) }));
}

interface Outcome {
  readonly change?: Change;
  readonly left?: LeftAlone;
  readonly untold: readonly Untold[];
}

function changeFor(world: World, { container, drifts }: DriftsOfContainer): Outcome {
  const [first] = drifts;
  const seen = first?.containerId === null ? undefined : world.state.containers.get(first?.containerId ?? '');
  const wanted = world.desired.containers.find(({ name }) => clip(name) === container);
  const entry = wanted && world.entries.get(wanted.name);
  if (wanted === undefined || entry === undefined) return seen === undefined ? { untold: [] } : addition(world, seen);
  const missing = drifts.find(({ kind }) => kind === 'MISSING_CONTAINER');
  const change = seen && drifts.length > (missing ? 1 : 0) ? keysOf(world, { wanted, entry, seen }) : undefined;
  if (missing === undefined) return change ?? { untold: [] };
  const absent = absence(world, entry, container, missing);
  return { ...absent, ...(change?.change && { change: change.change }), untold: change?.untold ?? [] };
}

/** Wanted, and not doing its work: that is no decision of whoever runs this, unless they say so. */
function absence({ dropMissing, manifest }: World, entry: WantedEntry, container: string, missing: Drift): Outcome {
  const { file } = entry.source;
  const state = missing.differences[0]?.observed ?? null;
  const left = (reason: string): Outcome => ({ left: { container, ...standsAt(entry), reason }, untold: [] });
  if (state !== null) return left(`it is wanted, and does not do its work: ${state}`);
  if (!dropMissing) return left('it is wanted, and there is none; with --drop-missing it is wanted no more');
  if (entry.index === undefined) return left('it is wanted, and there is none; services are not dropped');
  if (entry.everyNode && manifest.nodes.length > 1)
    return left('it is wanted on every node, and there is none on this one');
  return { change: { kind: 'dropped', container, file, index: entry.index }, untold: [] };
}

interface Differing {
  readonly wanted: DesiredContainer;
  readonly entry: WantedEntry;
  readonly seen: ObservedContainer;
}

function keysOf({ state, desired, mayWrite }: World, { wanted, entry, seen }: Differing): Outcome {
  const made = state.made.get(seen.id);
  const { checks, newerPatches } = desired;
  const judge = { checks, newerPatches, mayWrite };
  const { edits, keys, untold } = changeOf(entry, wanted, { container: seen, made }, judge);
  const { everyNode, source } = entry;
  const change: Change = { kind: 'changed', container: wanted.name, file: source.file, edits, keys, everyNode };
  if (edits.length > 0) return { change, untold };
  const reason = 'nothing in its entry can be written otherwise to allow for it';
  return { left: { container: wanted.name, ...standsAt(entry), reason }, untold };
}

/** A container that nobody listed. */
function addition(world: World, container: ObservedContainer): Outcome {
  const { node, state, seen, creations, desired, mayWrite } = world;
  const { name, image, imageId, id } = container;
  const left = (reason: string): Outcome => ({ left: { container: name, file: null, line: null, reason }, untold: [] });
  const stands = standstill(container, state.atMs) ?? (container.state === 'created' ? 'not started yet' : undefined);
  if (stands !== undefined) return left(`it does not run: ${stands}`);
  const its = seen.get(id);
  if (its === undefined) return left('nothing is known of how it was made');
  const config = ownConfig(its, desired.checks, mayWrite);
  const creation = creations.get(id);
  const beyond = creation === undefined ? unknownCreation : ownCreation(creation, config.keys, mayWrite);
  const keys = [...config.keys].filter(([key]) => !beyond.drop.includes(key));
  const pinned = !image.includes('@') && /^sha256:[0-9a-f]{64}$/.test(imageId);
  const item = new Map<string, Written>([
    ['name', name],
    ['image', image],
    ...(pinned ? [['image_sha', imageId] as const] : []),
    ['node', node],
    ...keys.map(([key, written]) => [key, beyond.instead.get(key) ?? written] as const),
    ...beyond.keys,
  ]);
  const untold = [...config.untold, ...beyond.untold];
  const unsaid = [...new Set(untold.map(({ key }) => key))];
  return { change: { kind: 'added', container: name, file: manifestFile, node, item, unsaid }, untold };
}

const unknownCreation: OwnCreation = {
  ...{ keys: new Map(), instead: new Map(), drop: [] },
  untold: ['healthcheck', 'networks', 'tmpfs'].map((key) => ({ key, name: undefined, why: 'image', wholeKey: true })),
};

function standsAt(entry: WantedEntry | undefined): Pick<LeftAlone, 'file' | 'line'> {
  if (entry === undefined) return { file: null, line: null };
  return { file: entry.source.file, line: placeOf(entry.source, entry.path).line };
}
