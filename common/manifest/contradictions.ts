import { z } from 'zod';
import { type Mistake, mistakeAt } from './mistake.ts';
import { pinMistakes } from './pins.ts';
import type { Source } from './source.ts';
import { createTakenNames } from './taken-names.ts';

const word = z.string().optional().catch(undefined);

/** As much as the parts need to be held against each other; other mistakes in them have been told by then. */
const outline = z
  .object({
    nodes: z.array(z.object({ name: word }).catch({})).catch([]),
    containers: z.array(z.object({ name: word, node: word, type: word }).catch({})).catch([]),
  })
  .catch({ nodes: [], containers: [] });

type Outline = z.output<typeof outline>;

/** What each part allows and the whole does not. */
export function contradictions(source: Source, value: unknown): Mistake[] {
  const found = outline.parse(value);
  return [...pinMistakes(source, value), ...repeatedNodes(source, found), ...badContainers(source, found)];
}

function repeatedNodes(source: Source, { nodes }: Outline): Mistake[] {
  const seen = new Map<string, number>();
  return nodes.flatMap(({ name }, i) => {
    if (name === undefined) return [];
    const before = seen.get(name);
    seen.set(name, before ?? i);
    return before === undefined
      ? []
      : [mistakeAt(source, ['nodes', i, 'name'], `"${name}" is listed twice, also by nodes.${before}`)];
  });
}

function badContainers(source: Source, { nodes, containers }: Outline): Mistake[] {
  const known = new Set(nodes.map(({ name }) => name));
  const names = createTakenNames();
  return containers.flatMap(({ name, node, type }, i) => {
    const mistakes: Mistake[] = [];
    const refuse = (key: string, reason: string) => mistakes.push(mistakeAt(source, ['containers', i, key], reason));
    if (node !== undefined && known.size > 0 && !known.has(node)) refuse('node', `"${node}" is not in nodes`);
    if (name === undefined || (type ?? 'docker') !== 'docker') return mistakes;
    const clash = names.take(name, node, `containers.${i}`);
    if (clash !== undefined) refuse('name', `"${name}" is wanted twice, also by ${clash}`);
    return mistakes;
  });
}
