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
