import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DeploymentError, reasonOf } from './failure.ts';
import { type Machine, type NodeMachine, readMachine, readNodeMachine } from './machine.ts';

export interface CommandLine {
  readonly collector: Machine;
  readonly nodes: readonly NodeMachine[];
  readonly packages: string;
  /** OpenSSH allowed_signers of those who may release; undefined: signatures are not looked at. */
  readonly signers: string | undefined;
  readonly url: string | undefined;
  readonly caFile: string | undefined;
  readonly collectorSettings: string | undefined;
  readonly nodeSettings: string | undefined;
  readonly identity: string | undefined;
  readonly sshOptions: readonly string[];
  readonly start: boolean;
  readonly parallel: number;
  readonly waitSeconds: number;
  readonly json: boolean;
  readonly yes: boolean;
}

const defaults = { parallel: '4', 'wait-seconds': '120' };
const most = { parallel: 64, waitSeconds: 3600 };

export const usage = `usage: ./scripts/deploy --collector [USER@]HOST[:PORT] [options] [[NAME=][USER@]HOST[:PORT]...]

Installs or upgrades a collector and its nodes over ssh, enrols each node, and waits for its first report that is proved.
Can be run again: what is as it should be is left alone.

  --packages DIR             what ./scripts/package made (by default dist/packages)
  --signers FILE             who may sign packages (OpenSSH allowed_signers); without it only their sums are checked
  --url URL                  where nodes reach the collector (by default from its settings, and the host of --collector)
  --ca-file FILE             PEM of the authorities that nodes check the collector's certificate by
  --collector-settings FILE  becomes /etc/sigilwatch/collector.yaml
  --node-settings FILE       becomes /etc/sigilwatch/agent.yaml on each node
  --identity FILE            key for ssh
  --ssh-option OPTION        for ssh, as after -o; can be given several times
  --no-start                 install and enrol only; nothing is started, and no report is waited for
  --parallel NUMBER          nodes at a time (by default ${defaults.parallel}, at most ${most.parallel})
  --wait-seconds NUMBER      how long a program may take to come up (by default ${defaults['wait-seconds']}, at most ${most.waitSeconds})
  --json                     what came of it as JSON on standard output; progress goes to standard error
  --yes                      do not ask first

Exit codes: 0 all are up, 1 something is not, 2 wrong usage or packages.
`;

/** Relative paths are those of `from`. @throws DeploymentError for a command line that makes no sense */
export function readCommandLine(args: readonly string[], from: string): CommandLine {
  const { values, positionals } = parse(args);
  const file = (path: string | undefined) => (path === undefined ? undefined : resolve(from, path));
  const collector = readMachine(values.collector ?? '');
  if (collector === undefined) throw unclear(`--collector ${values.collector ?? ''}: [USER@]HOST[:PORT] is expected`);
  if (values.url !== undefined && !/^https?:\/\/[\w.:[\]-]+(\/[\w./-]*)?$/.test(values.url)) {
    throw unclear(`--url ${values.url}: http:// or https://, and a host, are expected`);
  }
  return {
    ...{ collector, nodes: nodesOf(positionals) },
    parallel: count('--parallel', values.parallel, most.parallel),
    waitSeconds: count('--wait-seconds', values['wait-seconds'], most.waitSeconds),
    packages: values.packages === undefined ? resolve('dist/packages') : resolve(from, values.packages),
    signers: file(values.signers),
    url: values.url?.replace(/\/+$/, ''),
    caFile: file(values['ca-file']),
    collectorSettings: file(values['collector-settings']),
    nodeSettings: file(values['node-settings']),
    identity: file(values.identity),
    sshOptions: values['ssh-option'],
    start: !values['no-start'],
    json: values.json,
    yes: values.yes,
  };
}

function nodesOf(texts: readonly string[]): readonly NodeMachine[] {
  const nodes = texts.map((text) => {
    const node = readNodeMachine(text);
    if (node === undefined) {
      throw unclear(
        `${text}: [NAME=][USER@]HOST[:PORT] is expected, with a name of lower-case letters, digits and hyphens`,
      );
    }
    return node;
  });
  const twice = nodes.find(({ name }, at) => nodes.findIndex((one) => one.name === name) < at);
  if (twice !== undefined) throw unclear(`two nodes are called ${twice.name}: say NAME=HOST`);
  return nodes;
}

function count(option: string, text: string, atMost: number): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= atMost) return number;
  throw unclear(`${option} ${text}: 1 to ${atMost} are expected`);
}

function unclear(reason: string, cause?: unknown): DeploymentError {
  return new DeploymentError(`${reason}; ./scripts/deploy --help says what it takes`, { cause });
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...{ collector: text, packages: text, signers: text, url: text, 'ca-file': text },
        ...{ 'collector-settings': text, 'node-settings': text, identity: text },
        'ssh-option': { type: 'string', multiple: true, default: [] },
        parallel: { type: 'string', default: defaults.parallel },
        'wait-seconds': { type: 'string', default: defaults['wait-seconds'] },
        ...{ 'no-start': flag, json: flag, yes: flag },
      },
    });
  } catch (cause) {
    const [first = ''] = reasonOf(cause).split('\n');
    throw unclear(first.replace(/\.$/, ''), cause);
  }
}
