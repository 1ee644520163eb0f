import { z } from 'zod';
import type { WantedTmpfs } from '../container-config.ts';
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
import {
  type Mount,
  misspelled,
  mountOf,
  parseMount,
  quietModes,
  type Spelled,
  sortedOnce,
  spelled,
  spellMemory,
  spellPort,
  spellPortParts,
  withOptions,
} from './spelling.ts';

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

/** Bits as `chmod` takes them; as a number they are the number itself, which `0o1777` writes. */
const permissions = byForm<number>(
  {
    number: z.int().min(0).max(0o7777),
    text: spelledBy(value, (text): Spelled<number> => {
      return /^(0o?)?[0-7]{1,4}$/.test(text)
        ? spelled(Number.parseInt(text.replace('o', ''), 8))
        : misspelled('a mode');
    }),
  },
  'a mode such as "1777"',
);

const memory = byForm(
  { text: spelledBy(value, spellMemory), number: spelledBy(z.number(), spellMemory) },
  'an amount of memory',
);

/** What a mount of memory takes for options, in the words of the system call. */
const memoryOptions = z
  .strictObject({ size: memory.optional(), mode: permissions.optional() })
  .transform(({ size = 0, mode }) => [
    ...(size > 0 ? [`size=${size}`] : []),
    ...(mode === undefined ? [] : [`mode=${mode.toString(8)}`]),
  ]);

const longMount = z
  .strictObject({
    type: z.enum(['bind', 'volume', 'tmpfs'], 'bind, volume or tmpfs; other mounts are not supported'),
    source: path.optional(),
    target: path,
    read_only: truth.optional(),
    // What the container sees at the target does not depend on these; it is made with them.
    bind: z
      .strictObject({
        propagation: z.unknown().optional(),
        create_host_path: z.unknown().optional(),
        selinux: z.unknown().optional(),
      })
      .optional(),
    volume: z.strictObject({ nocopy: z.unknown().optional() }).optional(),
    tmpfs: memoryOptions.optional(),
    consistency: z.unknown().optional(),
  })
  .transform((mount, ctx): Mount => {
    const result = mountOf(mount.type, mount.source ?? '', mount.target, mount.read_only ? 'ro' : 'rw');
    if (result.ok && mount.type !== 'tmpfs') return withOptions(result.value, quietOptions(mount));
    const options = [...(mount.read_only ? ['ro'] : []), ...(mount.tmpfs ?? [])].join(',');
    if (result.ok) return { ...result.value, options };
    ctx.addIssue({ code: 'custom', message: result.reason });
    return z.NEVER;
  });

interface LongOptions {
  readonly bind?: { readonly propagation?: unknown; readonly selinux?: unknown } | undefined;
  readonly volume?: { readonly nocopy?: unknown } | undefined;
  readonly consistency?: unknown;
}

/** In the words of the short form; what it has no word for is left to compose. */
function quietOptions({ bind, volume, consistency }: LongOptions): string[] {
  const words = [bind?.propagation, bind?.selinux, volume?.nocopy === true ? 'nocopy' : undefined, consistency];
  return words.filter((word) => typeof word === 'string').filter((word) => quietModes.has(word));
}

/** One mount, short or long. */
export const mount = byForm({ text: spelledBy(path, parseMount), map: longMount }, 'a mount as text or map');

const shortTmpfs = spelledBy(path, (text): Spelled<WantedTmpfs> => {
  const [, target = '', options = ''] = /^([^:]*)(?::([^:]*))?$/.exec(text) ?? [];
  const result = mountOf('tmpfs', '', target, 'rw');
  if (!result.ok) return result;
  return memoryOption.test(options)
    ? spelled({ target: result.value.target, options })
    : misspelled('options of a mount of memory such as size=64m,mode=1777');
});

/** Words and assignments, separated by commas; the engine judges them. */
const memoryOption = /^([a-z]+(=[\w%]+)?(,[a-z]+(=[\w%]+)?)*)?$/;

/** Mounts of memory: `/run`, or `/run:size=64m`. */
export const tmpfs = byForm<readonly WantedTmpfs[]>(
  { text: shortTmpfs.transform((one) => [one]), list: z.array(shortTmpfs).max(maxMounts) },
  'a path, or a list of them',
);

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
