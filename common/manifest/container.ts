import { z } from 'zod';
import { nodeName } from '../fields.ts';
import { manifestContainerKeys } from './container-keys.ts';
import { flag, text, words } from './values.ts';

/** An item of the manifest's key `nodes`. */
export const node = z.strictObject({
  name: nodeName,
  role: words.optional(),
  type: words.optional(),
  hostname: words.optional(),
  docker_enabled: flag.default(true),
  k8s_enabled: flag.default(false),
  monitoring: flag.default(true),
});

const imageSha = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{64}$/, 'sha256:<64 hex digits>')
  .transform((digest) => (digest.startsWith('sha256:') ? digest : `sha256:${digest}`));

/** An item of the manifest's key `containers`. */
export const container = z.strictObject({
  name: text,
  type: z.enum(['docker', 'kubernetes']).default('docker'),
  image: text,
  image_sha: imageSha.optional(),
  /** The node it should run on; every node when left out. */
  node: nodeName.optional(),
  ...manifestContainerKeys,
});
