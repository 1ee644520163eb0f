import { nodeName } from '../../common/fields.ts';

/** Where ssh goes. */
export interface Machine {
  readonly user: string | undefined;
  readonly host: string;
  /** Undefined: as ssh is configured. */
  readonly port: number | undefined;
}

export interface NodeMachine extends Machine {
  readonly name: string;
}

// Nothing that begins with "-": ssh would take it for an option.
const machinePattern =
  /^(?:(?<user>[A-Za-z_][\w.-]*)@)?(?<host>[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?<port>\d{1,5}))?$/;

/** `[USER@]HOST[:PORT]`, an IPv6 address in brackets. Undefined for anything else. */
export function readMachine(text: string): Machine | undefined {
  const { user, host, port } = machinePattern.exec(text)?.groups ?? {};
  if (host === undefined) return undefined;
  const number = port === undefined ? undefined : Number(port);
  if (number !== undefined && (number < 1 || number > 65_535)) return undefined;
  return { user, host: host.replaceAll(/[[\]]/g, ''), port: number };
}

/** `[NAME=]` before it; without a name it is what the host is called up to the first dot, which an address has none of. */
export function readNodeMachine(text: string): NodeMachine | undefined {
  const [, named, place = ''] = /^(?:([^=]*)=)?(.*)$/.exec(text) ?? [];
  const machine = readMachine(place);
  if (machine === undefined) return undefined;
  if (named === undefined && /^[\d.]+$|:/.test(machine.host)) return undefined;
  const name = named ?? machine.host.split('.')[0];
  const known = nodeName.safeParse(name);
  return known.success ? { ...machine, name: known.data } : undefined;
}
