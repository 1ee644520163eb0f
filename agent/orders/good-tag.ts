/** The repository whose tags keep good images. Nothing else is tagged or untagged, and nothing ever runs by these tags. */
export const goodRepository = 'sigilwatch/good';

/** `sigilwatch/good:<first 12 hex digits of the id>`, without the repository; undefined for what is no image's id. */
export function goodTag(imageId: string): string | undefined {
  return /^sha256:([0-9a-f]{64})$/.exec(imageId)?.[1]?.slice(0, 12);
}
