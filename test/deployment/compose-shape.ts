import { z } from 'zod';

/** The shape of the Compose specification as far as docs/deploy/compose.yaml uses it; a field that is not listed here is refused. */
const text = z.string().min(1);
const list = z.array(text).default([]);

const service = z.strictObject({
  image: text,
  command: list,
  user: text.optional(),
  profiles: list,
  environment: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string()).default({}),
  ...{ env_file: list, secrets: list, volumes: list, networks: list, ports: list, group_add: list },
  network_mode: z.literal('none').optional(),
  depends_on: z
    .union([
      z.array(text),
      z.record(text, z.strictObject({ condition: z.enum(['service_started', 'service_healthy']) })),
    ])
    .default([]),
  healthcheck: z
    .strictObject({ test: z.array(text), interval: z.string().regex(/^\d+s$/), retries: z.int().positive() })
    .optional(),
  ...{ read_only: z.boolean().optional(), tmpfs: list, cap_drop: list, cap_add: list, security_opt: list },
  mem_limit: z
    .string()
    .regex(/^\d+[mg]$/)
    .optional(),
  restart: z.enum(['always', 'unless-stopped', 'on-failure', 'no']).optional(),
});

export const composeFile = z.strictObject({
  services: z.record(text, service),
  networks: z.record(text, z.strictObject({ internal: z.boolean().optional() })),
  volumes: z.record(text, z.strictObject({})),
  secrets: z.record(text, z.strictObject({ file: text })),
});
