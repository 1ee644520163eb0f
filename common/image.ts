/** An image reference taken apart, with Docker's defaults filled in. */
export interface ImageRef {
  readonly repository: string;
  readonly tag: string | null;
  /** `sha256:<hex>` when the reference is pinned. */
  readonly digest: string | null;
}

/**
 * Normalises a reference the way the engine resolves it: `nginx` is `docker.io/library/nginx:latest`.
 * Source: Docker reference grammar (registry host has a dot, a colon or is `localhost`).
 */
export function parseImageRef(reference: string): ImageRef {
  const [named = '', digest = null] = reference.split('@', 2);
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  const name = tagged ? named.slice(0, colon) : named;
  const tag = tagged ? named.slice(colon + 1) : digest === null ? 'latest' : null;
  const [first = '', ...rest] = name.split('/');
  const hasHost = rest.length > 0 && (first.includes('.') || first.includes(':') || first === 'localhost');
  const path = hasHost ? rest.join('/') : name;
  const host = hasHost && first !== 'index.docker.io' ? first : 'docker.io';
  const repository = `${host}/${host === 'docker.io' && !path.includes('/') ? `library/${path}` : path}`;
  return { repository, tag, digest };
}

/** Whether two references name the same image as far as the references alone can tell. */
export function sameImage(desired: string, observed: string): boolean {
  if (desired === observed) return true;
  const a = parseImageRef(desired);
  const b = parseImageRef(observed);
  if (a.repository !== b.repository) return false;
  return a.digest !== null ? a.digest === b.digest : a.tag === b.tag;
}

/**
 * Whether `observed` is a newer patch of `desired`: the same repository, and a tag `x.y.z` with a greater `z`, whatever stands around
 * the numbers (`v1.4.2-alpine`) being the same. Never for a reference with a digest, on either side: what is pinned was meant
 * exactly, and where there is a digest the engine does not look at the tag.
 */
export function isNewerPatch(desired: string, observed: string): boolean {
  const [a, b] = [parseImageRef(desired), parseImageRef(observed)];
  if (a.repository !== b.repository || a.digest !== null || b.digest !== null) return false;
  const [from, to] = [versionOf(a.tag), versionOf(b.tag)];
  if (from === undefined || to === undefined) return false;
  return from.before === to.before && from.suffix === to.suffix && isGreater(to.patch, from.patch);
}

interface TagVersion {
  /** Everything up to the patch: `v1.4.` */
  readonly before: string;
  readonly patch: string;
  readonly suffix: string;
}

/** Numbers without leading zeros: of `1.4.05` nobody knows whether it comes before `1.4.5` (semver.org, 2). */
function versionOf(tag: string | null): TagVersion | undefined {
  const number = '(?:0|[1-9][0-9]*)';
  const form = new RegExp(`^(v?${number}\\.${number}\\.)(${number})([-+_].*)?$`);
  const [, before, patch, suffix = ''] = form.exec(tag ?? '') ?? [];
  return before === undefined || patch === undefined ? undefined : { before, patch, suffix };
}

/** As numbers, however long they are; neither begins with a zero. */
function isGreater(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}
