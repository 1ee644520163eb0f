import { hashBytes } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { NodeId } from '../../common/merkle.ts';
import type { HashReader } from '../../common/proof.ts';
import { fullTileWidth, placeOf, subtreesOf, type TileId } from '../../common/tiles.ts';
import type { FullTile, LedgerStore } from './store.ts';
import { missingTile, type Tail, tileInTail } from './tail.ts';

/** A tile, and what proofs need of it, computed when the first one does. */
interface KnownTile {
  readonly bytes: Buffer;
  subtrees?: KnownSubtrees;
}

type KnownSubtrees = ReturnType<typeof subtreesOf>;

/** Hashes of the tree, from the tail for what still grows and from the store, through a small cache, for the rest. */
export class TileReader {
  readonly #store: Pick<LedgerStore, 'tiles'>;
  /** Full tiles by `level/index`, least recently used first. They never change, so they never go stale. */
  readonly #cache = new Map<string, KnownTile>();
  /** Tiles of a tail that are not full, by level: many proofs are asked for in one and the same tree. */
  readonly #growing = new WeakMap<Tail, Map<number, KnownTile>>();
  /** The tile of each level that was last read from while it grew: in the next tail it mostly is the same one, a little longer. */
  readonly #grew = new Map<number, KnownTile & { readonly index: number }>();

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
    return wanted(tiles, ref).bytes;
  }

  /** Takes note of full tiles that somebody has at hand; the store holds them too. */
  learn(tiles: readonly FullTile[]): void {
    for (const tile of tiles) this.#remember(tile, { bytes: tile.hashes });
  }

  async #read(tail: Tail, nodes: readonly NodeId[]): Promise<readonly Buffer[]> {
    const tiles = await this.#tiles(
      tail,
      nodes.map((node) => placeOf(node).tile),
    );
    return nodes.map((node) => {
      const { tile: ref } = placeOf(node);
      const tile = wanted(tiles, ref);
      tile.subtrees ??= this.#subtreesOf(ref, tile);
      return hashIn(tile.subtrees, node);
    });
  }

  async #tiles(tail: Tail, refs: readonly TileId[]): Promise<ReadonlyMap<string, KnownTile>> {
    const found = new Map<string, KnownTile>();
    const absent = new Map<string, TileId>();
    for (const ref of refs) {
      if (found.has(name(ref))) continue;
      const known = this.#inTail(tail, ref) ?? this.#recall(ref);
      if (known === undefined) absent.set(name(ref), ref);
      else found.set(name(ref), known);
    }
    if (absent.size === 0) return found;
    const asked = [...absent.values()];
    const stored = await this.#store.tiles(asked);
    asked.forEach((ref, i) => {
      const bytes = stored[i];
      if (bytes === undefined) throw missingTile(ref.level, ref.index);
      const tile = { bytes };
      this.#remember(ref, tile);
      found.set(name(ref), tile);
    });
    return found;
  }

  #subtreesOf({ level, index }: TileId, { bytes }: KnownTile): KnownSubtrees {
    const grew = this.#grew.get(level);
    const same = grew?.index === index && grew.bytes.equals(bytes.subarray(0, grew.bytes.length));
    const subtrees = subtreesOf(bytes, same ? grew.subtrees : []);
    if (bytes.length < fullTileWidth * hashBytes) this.#grew.set(level, { index, bytes, subtrees });
    return subtrees;
  }

  #inTail(tail: Tail, ref: TileId): KnownTile | undefined {
    const bytes = tileInTail(tail, ref);
    if (bytes === undefined) return undefined;
    const growing = this.#growing.get(tail) ?? new Map<number, KnownTile>();
    this.#growing.set(tail, growing);
    const tile = growing.get(ref.level) ?? { bytes };
    growing.set(ref.level, tile);
    return tile;
  }

  #recall(ref: TileId): KnownTile | undefined {
    const tile = this.#cache.get(name(ref));
    if (tile !== undefined) this.#remember(ref, tile);
    return tile;
  }

  #remember(ref: TileId, tile: KnownTile): void {
    this.#cache.delete(name(ref));
    this.#cache.set(name(ref), tile);
    const oldest = this.#cache.keys().next();
    if (this.#cache.size > limits.tileCacheTiles && !oldest.done) this.#cache.delete(oldest.value);
  }
}

/** @throws AppError `ledger.tampered` when the tile does not reach that far. */
function hashIn(subtrees: KnownSubtrees, node: NodeId): Buffer {
  const { start, count } = placeOf(node);
  const at = (start / count) * hashBytes;
  const hash = subtrees[Math.log2(count)]?.subarray(at, at + hashBytes);
  if (hash?.length === hashBytes) return hash;
  const length = subtrees[0]?.length ?? 0;
  throw new AppError('ledger.tampered', `tile of ${length} bytes ends before node ${node.level}/${node.index}`);
}

function name({ level, index }: TileId): string {
  return `${level}/${index}`;
}

function wanted(tiles: ReadonlyMap<string, KnownTile>, ref: TileId): KnownTile {
  const tile = tiles.get(name(ref));
  if (tile === undefined) throw missingTile(ref.level, ref.index);
  return tile;
}
