import { z } from 'zod';
import {
  byForm,
  maxMounts,
  maxNameChars,
  maxPorts,
  name,
  numberAsText,
  path,
  spelledBy,
  textOrNumber,
  truth,
  value,
} from './forms.ts';
import { type Mount, mountOf, parseMount, sortedOnce, spellPort, spellPortParts } from './spelling.ts';

/* `ports` and `volumes`, in their short and long forms. Source: the Compose Specification. */

const longPort = z
  .strictObject({
    target: textOrNumber,
    published: textOrNumber.optional(),
    host_ip: z.string().max(maxNameChars).optional(),
    protocol: z.string().max(maxNameChars).optional(),
    // These say nothing to the engine of one node.
    mode: z.enum(['host', 'ingress']).optional(),
    name: name.optional(),
    app_protocol: name.optional(),
  })
  .transform((port, ctx): readonly string[] => {
    const { target: container, published: host, host_ip: ip, protocol } = port;
    const result = spellPortParts({ ip, host, container, protocol });
    if (result.ok) return result.value;
    ctx.addIssue({ code: 'custom', message: result.reason });
    return z.NEVER;
  });

/** In one spelling, sorted. */
export const ports = z
  .array(
    byForm(
      { text: spelledBy(value, spellPort), number: spelledBy(numberAsText, spellPort), map: longPort },
      'a port as text, number or map',
    ),
  )
  .max(maxPorts)
  .transform((lists) => sortedOnce(lists.flat()))
  .refine((all) => all.length <= maxPorts, `at most ${maxPorts} ports`);

const longMount = z
  .strictObject({
    type: z.enum(['bind', 'volume', 'tmpfs'], 'bind, volume or tmpfs; other mounts are not supported'),
    source: path.optional(),
    target: path,
    read_only: truth.optional(),
    // What the container sees at the target does not depend on these.
    bind: z
      .strictObject({
        propagation: z.unknown().optional(),
        create_host_path: z.unknown().optional(),
        selinux: z.unknown().optional(),
      })
      .optional(),
    volume: z.strictObject({ nocopy: z.unknown().optional() }).optional(),
    tmpfs: z.unknown().optional(),
    consistency: z.unknown().optional(),
  })
  .transform((mount, ctx): Mount => {
    const result = mountOf(mount.type, mount.source ?? '', mount.target, mount.read_only ? 'ro' : 'rw');
    if (result.ok) return result.value;
    ctx.addIssue({ code: 'custom', message: result.reason });
    return z.NEVER;
  });

/** One mount, short or long. */
export const mount = byForm({ text: spelledBy(path, parseMount), map: longMount }, 'a mount as text or map');

/** In the order written, so that what is wrong with one is said where it stands. */
export const mountList = (item: z.ZodType<Mount>) =>
  z
    .array(item)
    .max(maxMounts)
    .superRefine((mounts, ctx) => {
      const targets = new Set<string>();
      for (const [i, { target }] of mounts.entries()) {
        const message = `another mount already has the target ${target}`;
        if (targets.has(target)) ctx.addIssue({ code: 'custom', path: [i], message });
        targets.add(target);
      }
    });
