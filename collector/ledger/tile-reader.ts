import { limits } from '../../common/limits.ts';
import type { NodeId } from '../../common/merkle.ts';
import type { HashReader } from '../../common/proof.ts';
import { hashFromTile, placeOf, type TileId } from '../../common/tiles.ts';
import type { LedgerStore } from './store.ts';
import { missingTile, type Tail, tileInTail } from './tail.ts';

/** Hashes of the tree, from the tail for what still grows and from the store, through a small cache, for the rest. */
export class TileReader {
  readonly #store: Pick<LedgerStore, 'tiles'>;
  /** Full tiles by `level/index`, least recently used first. They never change, so they never go stale. */
  readonly #cache = new Map<string, Buffer>();

  constructor(store: Pick<LedgerStore, 'tiles'>) {
    this.#store = store;
  }

  /** A reader of the tree that ends with `tail`. */
  at(tail: Tail): HashReader {
    return { read: (nodes) => this.#read(tail, nodes) };
  }

  /** One tile as of `tail`. */
  async tile(tail: Tail, ref: TileId): Promise<Buffer> {
    const tiles = await this.#tiles(tail, [ref]);
    return wanted(tiles, ref);
  }

  async #read(tail: Tail, nodes: readonly NodeId[]): Promise<readonly Buffer[]> {
    const tiles = await this.#tiles(
      tail,
      nodes.map((node) => placeOf(node).tile),
    );
    return nodes.map((node) => hashFromTile(node, wanted(tiles, placeOf(node).tile)));
  }

  async #tiles(tail: Tail, refs: readonly TileId[]): Promise<ReadonlyMap<string, Buffer>> {
    const found = new Map<string, Buffer>();
    const absent = new Map<string, TileId>();
    for (const ref of refs) {
      const known = tileInTail(tail, ref) ?? this.#recall(ref);
      if (known === undefined) absent.set(name(ref), ref);
      else found.set(name(ref), known);
    }
    if (absent.size === 0) return found;
    const asked = [...absent.values()];
    const stored = await this.#store.tiles(asked);
    asked.forEach((ref, i) => {
      const tile = stored[i];
      if (tile === undefined) throw missingTile(ref.level, ref.index);
      this.#remember(ref, tile);
      found.set(name(ref), tile);
    });
    return found;
  }

  #recall(ref: TileId): Buffer | undefined {
    const tile = this.#cache.get(name(ref));
    if (tile !== undefined) this.#remember(ref, tile);
    return tile;
  }

  #remember(ref: TileId, tile: Buffer): void {
    this.#cache.delete(name(ref));
    this.#cache.set(name(ref), tile);
    const oldest = this.#cache.keys().next();
    if (this.#cache.size > limits.tileCacheTiles && !oldest.done) this.#cache.delete(oldest.value);
  }
}

function name({ level, index }: TileId): string {
  return `${level}/${index}`;
}

function wanted(tiles: ReadonlyMap<string, Buffer>, ref: TileId): Buffer {
  const tile = tiles.get(name(ref));
  if (tile === undefined) throw missingTile(ref.level, ref.index);
  return tile;
}
