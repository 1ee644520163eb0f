import { z } from 'zod';
import { nodeName } from '../fields.ts';
import { limits } from '../limits.ts';
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

/** How a container is made beyond its image: taken as written, and not compared with anything. */
export const configKeys = {
  ports: z.unknown().optional(),
  environment: z.unknown().optional(),
  volumes: z.unknown().optional(),
  labels: z.unknown().optional(),
  restart_policy: z.unknown().optional(),
  command: z.unknown().optional(),
  entrypoint: z.unknown().optional(),
  user: z.unknown().optional(),
  cap_add: z.unknown().optional(),
  cap_drop: z.unknown().optional(),
  privileged: z.unknown().optional(),
  network_mode: z.unknown().optional(),
  networks: z.unknown().optional(),
  healthcheck: z.unknown().optional(),
  mem_limit: z.unknown().optional(),
  cpus: z.unknown().optional(),
  depends_on: z.unknown().optional(),
};

/** An item of the manifest's key `containers`. */
export const container = z.strictObject({
  name: text,
  type: z.enum(['docker', 'kubernetes']).default('docker'),
  image: text,
  image_sha: imageSha.optional(),
  /** The node it should run on; every node when left out. */
  node: nodeName.optional(),
  namespace: text.optional(),
  replicas: z.int().min(0).max(limits.maxReplicas).optional(),
  bloodline: z
    .strictObject({ creator: words.optional(), created_at: words.optional(), purpose: words.optional() })
    .optional(),
  ...configKeys,
});
