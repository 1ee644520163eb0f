import { z } from 'zod';
import { orderWitnesses } from '../enforcement/order-witnesses.ts';
import { parseVerifierKey } from '../note.ts';
import { type PinnedNode, repeatedWitness, witnessesWanted } from '../witnesses.ts';
import { type Mistake, mistakeAt } from './mistake.ts';
import type { YamlPath } from './place.ts';
import type { Source } from './source.ts';
import { flag } from './values.ts';
import { type Warning, warningAt } from './warnings.ts';

/*
 * What `witnesses` and `governance.witnessed_orders` ask for together.
 */

const word = z.string().optional().catch(undefined);
const noWitnesses = { quorum: 'majority', outside: [], nodes: [] } as const;

/** As much of a manifest as that takes; other mistakes in it have been told by then. */
const outline = z
  .object({
    nodes: z.array(z.object({ name: word }).catch({})).catch([]),
    containers: z.array(z.object({ node: word }).catch({})).catch([]),
    audit: z.object({ require_signed_commits: flag.default(false).catch(false) }).catch(unsigned),
    governance: z.object({ witnessed_orders: flag.default(false).catch(false) }).catch(unasked),
    witnesses: witnessesWanted.catch(nobody),
  })
  .catch(() => ({
    ...{ nodes: [], containers: [] },
    ...{ audit: unsigned(), governance: unasked(), witnesses: nobody() },
  }));

type Outline = z.output<typeof outline>;

function unsigned() {
  return { require_signed_commits: false };
}

function unasked() {
  return { witnessed_orders: false };
}

function nobody() {
  return { ...noWitnesses, outside: [], nodes: [] };
}

/** Keys that cannot stand beside each other, and a quorum that cannot be reached. */
export function pinMistakes(source: Source, value: unknown): Mistake[] {
  const found = outline.parse(value);
  return [...repeatedKeys(source, found), ...badPins(source, found), ...unreachable(source, found)];
}

function repeatedKeys(source: Source, { witnesses: { outside, nodes } }: Outline): Mistake[] {
  const pathOf = (at: number) =>
    at < outside.length ? ['witnesses', 'outside', at] : ['witnesses', 'nodes', at - outside.length];
  const twice = repeatedWitness([...outside, ...nodes]);
  if (twice === undefined) return [];
  const reason = `the same key as ${pathOf(twice[0]).join('.')}; a witness counts once`;
  return [mistakeAt(source, [...pathOf(twice[1]), 'key'], reason)];
}

function badPins(source: Source, { nodes, witnesses }: Outline): Mistake[] {
  const known = new Set(nodes.map(({ name }) => name));
  const [first] = witnesses.nodes;
  return witnesses.nodes.flatMap((pin, at) => {
    const refuse = (key: 'name' | 'key', reason: string) => mistakeAt(source, ['witnesses', 'nodes', at, key], reason);
    const before = witnesses.nodes.findIndex(({ name }) => name === pin.name);
    const { name } = parseVerifierKey(pin.key);
    return [
      ...(before < at ? [refuse('name', `"${pin.name}" is pinned twice, also by witnesses.nodes.${before}`)] : []),
      ...(known.size > 0 && !known.has(pin.name) ? [refuse('name', `"${pin.name}" is not in nodes`)] : []),
      ...(name.endsWith(`/${pin.name}`) ? [] : [refuse('key', `the key of ${name}, not of the node ${pin.name}`)]),
      ...(first !== undefined && name.endsWith(`/${pin.name}`) && logOf(pin) !== logOf(first)
        ? [refuse('key', `the key of a witness of ${logOf(pin)}, and witnesses.nodes.0 is one of ${logOf(first)}`)]
        : []),
    ];
  });
}

/** A node's key is called after the log that it witnesses and after itself. */
function logOf({ name, key }: PinnedNode): string {
  return parseVerifierKey(key).name.slice(0, -(name.length + 1));
}

const switchPath: YamlPath = ['governance', 'witnessed_orders'];

function unreachable(source: Source, { governance, witnesses }: Outline): Mistake[] {
  const wanted = orderWitnesses({ governance, witnesses });
  if (wanted === undefined) return [];
  const { length } = wanted.keys;
  if (length === 0)
    return [mistakeAt(source, switchPath, 'there are no keys to go by: witnesses.nodes is to name them')];
  if (witnesses.quorum === 'none') {
    return [
      mistakeAt(source, ['witnesses', 'quorum'], 'governance.witnessed_orders asks for a quorum, and this for none'),
    ];
  }
  if (wanted.required <= length) return [];
  const reason = `governance.witnessed_orders asks for the cosignatures of ${wanted.required}, and the keys of ${length} are pinned`;
  return [mistakeAt(source, ['witnesses', 'quorum'], reason)];
}

/** What is permitted and probably not meant. */
export function pinWarnings(source: Source, value: unknown): Warning[] {
  const found = outline.parse(value);
  const { witnesses, audit } = found;
  const wanted = orderWitnesses(found);
  const warn = (path: YamlPath, reason: string) => warningAt(source, path, reason);
  if (wanted === undefined) {
    const idle = 'has no effect while governance.witnessed_orders is not true';
    return witnesses.nodes.length === 0 ? [] : [warn(['witnesses', 'nodes'], idle)];
  }
  const { required, keys } = wanted;
  const parted = `${required} of ${keys.length} is not more than half: two histories can have a quorum each`;
  const alone = 'one witness is enough: a node that is shown a history of its own vouches for it by itself';
  const weak = required === 1 ? [alone] : 2 * required <= keys.length ? [parted] : [];
  const unproved =
    'keys are pinned by a manifest that anybody can have written: audit.require_signed_commits is not true';
  return [
    ...weak.map((reason) => warn(switchPath, reason)),
    ...(audit.require_signed_commits ? [] : [warn(switchPath, unproved)]),
    ...unpinned(found).map(({ path, name }) =>
      warn(path, `witnesses.nodes does not pin the key of ${name}: it obeys witnessed orders, and vouches for none`),
    ),
  ];
}

/** Nodes that are named and not pinned, each where it is named first. */
function unpinned({ nodes, containers, witnesses }: Outline): { path: YamlPath; name: string }[] {
  const named = [
    ...nodes.map(({ name }, at) => ({ path: ['nodes', at, 'name'], name })),
    ...containers.map(({ node }, at) => ({ path: ['containers', at, 'node'], name: node })),
  ];
  const known = new Set<string | undefined>([undefined, ...witnesses.nodes.map(({ name }) => name)]);
  return named.flatMap(({ path, name }) => {
    if (name === undefined || known.has(name)) return [];
    known.add(name);
    return [{ path, name }];
  });
}
