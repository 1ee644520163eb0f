import type { WantedImage } from '../../common/bundle/manifest.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { limits } from '../../common/limits.ts';
import type { EngineControl } from '../docker/control.ts';

/**
 * Images that are wanted here and that the engine does not have, each once: for a bundle to ask for. Never rejects: where the engine
 * cannot be asked, nothing is asked for.
 */
export async function missingImages(
  containers: readonly Pick<DesiredContainer, 'image' | 'imageId'>[],
  { findImage }: Pick<EngineControl, 'findImage'>,
): Promise<readonly WantedImage[]> {
  const wanted = new Map(containers.map(({ image, imageId }) => [imageId ?? image, { image, imageId }]));
  const missing: WantedImage[] = [];
  for (const [reference, image] of wanted) {
    if (missing.length === limits.maxBundleImages) break;
    if (image.image.length > limits.maxForeignTextChars) continue;
    try {
      if ((await findImage(reference)) === undefined) missing.push(image);
    } catch {
      return [];
    }
  }
  return missing;
}

/** Whether the engine has every image that is wanted here; false where it cannot be asked. Never rejects. */
export async function isAllThere(
  containers: readonly Pick<DesiredContainer, 'image' | 'imageId'>[],
  { findImage }: Pick<EngineControl, 'findImage'>,
): Promise<boolean> {
  try {
    for (const reference of new Set(containers.map(({ image, imageId }) => imageId ?? image))) {
      if ((await findImage(reference)) === undefined) return false;
    }
    return true;
  } catch {
    return false;
  }
}
