/** Names of containers that are wanted already, by the nodes they are wanted on. */
export interface TakenNames {
  /**
   * Takes a name on a node; on every node when there is none, where it clashes with the same name on any.
   * @param by who wants it, for whoever wants it too.
   * @returns who wants it already; undefined when nobody does.
   */
  take(name: string, node: string | undefined, by: string): string | undefined;
}

export function createTakenNames(): TakenNames {
  const taken = new Map<string, string>();
  return {
    take: (name, node, by) => {
      const clash = taken.get(`${name}/`) ?? taken.get(`${name}/${node ?? '*'}`);
      taken.set(`${name}/${node ?? ''}`, by);
      taken.set(`${name}/*`, by);
      return clash;
    },
  };
}
