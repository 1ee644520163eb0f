/*
 * From what people write to the one spelling of `ContainerConfig`. Everything here is pure and never throws: a text that
 * cannot be read comes back with what was expected instead. Source: the Compose Specification, and the Engine API for how
 * the engine says the same.
 */

/** A value in its one spelling, or why there is none. */
export type Spelled<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

export function spelled<T>(value: T): Spelled<T> {
  return { ok: true, value };
}

export function misspelled(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}

/** Ports one range may stand for. */
export const maxPortsPerRange = 1_000;
/** Processors in the whole; more is a typing mistake. */
export const maxProcessors = 10_000;

const maxPort = 65_535;

/** Sorted by code units, each once: the order of every list whose order says nothing. */
export function sortedOnce(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}

/**
 * One published port as compose writes it (`80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`, ranges
 * `8000-8002:80-82`), as `[<host ip>:][<host port>]-><container port>/<protocol>`, one text for each port of a range. A range on
 * the host for one port of the container stays a range: the engine picks one of it.
 */
export function spellPort(text: string): Spelled<readonly string[]> {
  const parts = /^(?:(?:(\[[^\]]*\]|[^:[\]]*):)?([^:[\]]*):)?([^:/]+)(?:\/([^/]*))?$/.exec(text.trim());
  const expected = 'a port as [[host ip:]host port:]container port[/protocol]';
  if (parts === null) return misspelled(expected);
  const [, ip, host, container, protocol] = parts;
  return spellPortParts({ ip, host, container, protocol });
}

/** The parts of a published port; `host` and `container` may be ranges. An empty part is as good as none. */
export interface PortParts {
  readonly ip: string | undefined;
  readonly host: string | undefined;
  readonly container: string | undefined;
  readonly protocol: string | undefined;
}

export function spellPortParts(parts: PortParts): Spelled<readonly string[]> {
  const container = portRange(parts.container ?? '', 1);
  if (container === undefined) return misspelled(`a port of the container from 1 to ${maxPort}`);
  const host = (parts.host ?? '') === '' ? null : portRange(parts.host ?? '', 0);
  if (host === undefined) return misspelled(`a port of the host from 0 to ${maxPort}`);
  const ip = (parts.ip ?? '') === '' ? spelled('') : spellHostIp(parts.ip ?? '');
  if (!ip.ok) return ip;
  const protocol = (parts.protocol ?? 'tcp').toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) return misspelled('the protocol tcp, udp or sctp');
  const size = container.last - container.first + 1;
  if (size > maxPortsPerRange) return misspelled(`at most ${maxPortsPerRange} ports in a range`);
  const before = ip.value === '' ? '' : `${ip.value}:`;
  if (host !== null && size === 1 && host.last > host.first) {
    return spelled([`${before}${host.first}-${host.last}->${container.first}/${protocol}`]);
  }
  if (host !== null && host.last - host.first + 1 !== size) return misspelled('as many host ports as container ports');
  const numbers = Array.from({ length: size }, (_, i) => i);
  return spelled(
    numbers.map((i) => {
      // Port 0 leaves the choice to the engine, as no port does.
      const published = host === null || host.first + i === 0 ? '' : String(host.first + i);
      return `${before}${published}->${container.first + i}/${protocol}`;
    }),
  );
}

function portRange(text: string, least: number): { readonly first: number; readonly last: number } | undefined {
  const [, from = '', to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.trim()) ?? [];
  const [first, last] = [Number(from), Number(to)];
  return from !== '' && first >= least && last <= maxPort && first <= last ? { first, last } : undefined;
}

/** An address of the host: IPv4 as it is, IPv6 (with or without brackets) in its shortest form and in brackets (RFC 5952); empty for all addresses. */
export function spellHostIp(text: string): Spelled<string> {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const bytes = text.split('.');
    if (bytes.every((byte) => String(Number(byte)) === byte && Number(byte) <= 255)) return spelled(specific(text));
  }
  const [, address = ''] = /^\[?([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\]?$/.exec(text) ?? [];
  const url = `http://[${address}]/`;
  if (address === '' || !URL.canParse(url)) return misspelled('an IPv4 address, or an IPv6 address in brackets');
  return spelled(specific(new URL(url).hostname));
}

/** All addresses, by whatever name, are no particular one. */
function specific(address: string): string {
  return address === '0.0.0.0' || address === '[::]' ? '' : address;
}

/**
 * One mount. A bind's source is a path from the root, or one that begins with `.` or `~` and depends on where and by whom
 * the container was started; a volume's is its name, empty for an anonymous one.
 */
export interface Mount {
  readonly kind: 'bind' | 'volume' | 'tmpfs';
  readonly source: string;
  readonly target: string;
  readonly mode: 'ro' | 'rw';
  /** Of a mount of memory, as for `mount -t tmpfs -o`; of another one what it has beyond `mode`: `rshared,z`, sorted. */
  readonly options?: string | undefined;
}

const relativePath = /^[.~]/;
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * Mount options that do not change what the container sees at the target, or only on kernels with SELinux: a container is made with
 * them, and not compared by them.
 */
export const quietModes: ReadonlySet<string> = new Set([
  ...['z', 'Z', 'nocopy', 'cached', 'delegated', 'consistent'],
  ...['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'],
]);

/** One mount as compose writes it in short: `/data`, `data:/data`, `/srv/data:/data:ro,z`. */
export function parseMount(text: string): Spelled<Mount> {
  const parts = text.split(':');
  if (parts.length > 3 || parts.includes('')) return misspelled('a mount as [source:]target[:ro|rw]');
  const [source = '', target = '', options = 'rw'] = parts.length === 1 ? ['', ...parts] : parts;
  let mode: Mount['mode'] = 'rw';
  const quiet: string[] = [];
  for (const option of options.split(',')) {
    if (option === 'ro' || option === 'rw') mode = option;
    else if (quietModes.has(option)) quiet.push(option);
    else return misspelled(`"${option}" is no mode of a mount; ro or rw`);
  }
  const result = mountOf(source === '' || !/^[./~]/.test(source) ? 'volume' : 'bind', source, target, mode);
  return result.ok ? spelled(withOptions(result.value, quiet)) : result;
}

/** A bind or volume with options of {@link quietModes}. */
export function withOptions(mount: Mount, options: readonly string[]): Mount {
  return options.length === 0 ? mount : { ...mount, options: sortedOnce(options).join(',') };
}

/** A mount from its parts, with clean paths. */
export function mountOf(kind: Mount['kind'], source: string, target: string, mode: Mount['mode']): Spelled<Mount> {
  // A colon would make two mounts out of one text, or one text out of two mounts.
  if (`${source}${target}`.includes(':')) return misspelled('paths without a colon');
  if (!target.startsWith('/')) return misspelled('a target that is a path from the root of the container');
  if (kind === 'bind' && !/^[./~]/.test(source)) return misspelled('a source that is a path');
  if (kind === 'volume' && source !== '' && !volumeName.test(source)) {
    return misspelled("a volume's name, or a path that begins with / or ./");
  }
  return spelled({ kind, source: kind === 'bind' ? cleanPath(source) : source, target: cleanPath(target), mode });
}

/**
 * A mount as `ContainerConfig` has it: `<source>:<target>:<ro|rw>`. The source of a relative bind keeps its `.` or `~` in front,
 * which no source seen in the engine has: git does not say the folder it is relative to. {@link asWanted} is how to compare it.
 */
export function spellMount({ source, target, mode }: Mount): string {
  return `${source}:${target}:${mode}`;
}

/** Whether a mount's source depends on where or by whom the container was started. */
export function isRelative({ kind, source }: Mount): boolean {
  return kind === 'bind' && relativePath.test(source);
}

/**
 * The observed mounts as they compare with the wanted ones: where git wants a relative source, any absolute path that is mounted
 * on the same target in the same mode is taken for it. Target and mode still compare. Sorted as before.
 */
export function asWanted(wanted: readonly string[], observed: readonly string[]): readonly string[] {
  const relative = new Map(
    wanted.filter((mount) => relativePath.test(mount)).map((mount) => [mount.slice(mount.indexOf(':')), mount]),
  );
  if (relative.size === 0) return observed;
  return sortedOnce(
    observed.map(
      (mount) => (mount.startsWith('/') ? relative.get(mount.slice(mount.indexOf(':'))) : undefined) ?? mount,
    ),
  );
}

/** Without `.`, `..`, empty steps and a slash at the end; a relative path begins with `./` or `../`. */
export function cleanPath(path: string): string {
  if (path.startsWith('~')) return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1');
  const absolute = path.startsWith('/');
  const steps: string[] = [];
  for (const step of path.split('/')) {
    if (step === '' || step === '.') continue;
    if (step !== '..') steps.push(step);
    else if (steps.length > 0 && steps.at(-1) !== '..') steps.pop();
    else if (!absolute) steps.push('..');
  }
  if (absolute) return `/${steps.join('/')}`;
  if (steps[0] === '..') return steps.join('/');
  return ['.', ...steps].join('/');
}

/** Bytes for `512m`, `1.5gb`, `64 MiB` or a plain number: binary multiples, as the engine's own tools read them. 0 is no limit. */
export function spellMemory(written: string | number): Spelled<number> {
  const expected = 'an amount of memory: bytes, or a number with b, k, m or g';
  const [, amount = '', unit = ''] =
    /^(\d{1,16}(?:\.\d{1,9})?) ?(?:([kmgt])i?b?|b)?$/.exec(String(written).toLowerCase()) ?? [];
  if (amount === '') return misspelled(expected);
  const bytes = Math.floor(Number(amount) * 1024 ** ' kmgt'.indexOf(unit || ' '));
  return Number.isSafeInteger(bytes) ? spelled(bytes) : misspelled(expected);
}

/** Thousandths of a processor for `1.5` or `"0.25"`; 0 is no limit. Finer steps are refused rather than rounded. */
export function spellCpus(written: string | number): Spelled<number> {
  const [, whole = '', fraction = ''] = /^(\d{0,5})(?:\.(\d{1,3})0*)?$/.exec(String(written)) ?? [];
  const thousandths = Number(whole || '0') * 1000 + Number(fraction.padEnd(3, '0'));
  if (`${whole}${fraction}` === '' || thousandths > maxProcessors * 1000) {
    return misspelled(`a number of processors from 0 to ${maxProcessors} in steps of a thousandth`);
  }
  return spelled(thousandths);
}

/** `CAP_NET_ADMIN` or `net_admin` as `NET_ADMIN`. */
export function spellCapability(text: string): Spelled<string> {
  const name = text.toUpperCase().replace(/^CAP_/, '');
  return /^[A-Z][A-Z0-9_]*$/.test(name) ? spelled(name) : misspelled('a capability such as NET_ADMIN');
}

/** What is to happen when the container ends. YAML reads an unquoted `no` of older documents as false. */
export function spellRestart(written: string | false): Spelled<string> {
  if (written === false) return spelled('no');
  if (['no', 'always', 'unless-stopped', 'on-failure'].includes(written)) return spelled(written);
  const [, most] = /^on-failure:(\d{1,9})$/.exec(written) ?? [];
  if (most === undefined) return misspelled('no, always, unless-stopped, on-failure or on-failure:<most retries>');
  // The engine takes 0 for "as often as it takes", which is what no number says.
  return spelled(Number(most) === 0 ? 'on-failure' : `on-failure:${Number(most)}`);
}

/** Which network stack the container has. */
export function spellNetworkMode(text: string): Spelled<string> {
  if (text === 'bridge' || text === 'default') return spelled('default');
  if (text.startsWith('service:')) {
    return misspelled(
      'service:NAME is not supported: another service may stand for several containers; write container:NAME',
    );
  }
  const name = text.replace(/^container:/, '');
  return volumeName.test(name)
    ? spelled(text)
    : misspelled("bridge, host, none, container:<id or name> or a network's name");
}

/** Milliseconds for `1m30s`, `1.5s`, `500ms`. Source: the Compose Specification, "Specifying durations". */
export function spellDurationMs(text: string): Spelled<number> {
  const unitMs = new Map(
    Object.entries({ us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }),
  );
  const expected = 'a duration such as 1m30s';
  if (!/^(\d{1,9}(\.\d{1,9})?(us|ms|s|m|h|d|w)){1,7}$/.test(text)) return misspelled(expected);
  let durationMs = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/([\d.]+)([a-z]+)/g)) {
    durationMs += Number(amount) * (unitMs.get(unit) ?? Number.NaN);
  }
  return spelled(Math.round(durationMs));
}
