/**
 * Many simulated agents in one process: `fleet-agents.ts FIRST COUNT FIRST_MINUTE_MS`. Says their keys, then does what each line of its
 * input asks for and answers with one line (`fleet-words.ts`). Ends with SIGTERM or with its input.
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { createFleetNode, type LogAddress } from './fleet-node.ts';
import { type FleetCommand, type FleetDone, fleetCommand } from './fleet-words.ts';

const [first = 1, count = 1, firstMinuteMs = 0] = process.argv.slice(2).map(Number);
const lookAgainMs = 10;

let ackMs: number[] = [];
let welcomeMs: number[] = [];
let failures: Record<string, number> = {};
let begunMs = 0;

const nodes = Array.from({ length: count }, (_, at) =>
  createFleetNode({
    node: `sim${String(first + at).padStart(6, '0')}`,
    firstMinuteMs,
    acknowledged: (ms) => ackMs.push(round(ms)),
    welcomed: () => welcomeMs.push(round(performance.now() - begunMs)),
    failed: (code) => {
      failures[code] = (failures[code] ?? 0) + 1;
    },
  }),
);

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Until the ledger has proved to each node that it holds all that the node has said. */
async function drained(): Promise<void> {
  while (nodes.some(({ waiting, connected }) => waiting > 0 || !connected)) await delay(lookAgainMs);
}

async function report(reports: number, everyMs: number): Promise<void> {
  const startMs = performance.now();
  for (let nth = 0; nth < reports * nodes.length; nth++) {
    await delay(Math.max(0, startMs + (nth * everyMs) / nodes.length - performance.now()));
    nodes[nth % nodes.length]?.report();
  }
  await delay(Math.max(0, startMs + reports * everyMs - performance.now()));
}

let log: LogAddress = { url: '', origin: '', vkey: '' };

async function obey(command: FleetCommand): Promise<void> {
  begunMs = performance.now();
  switch (command.do) {
    case 'connect':
      log = command;
      for (const node of nodes) node.begin();
      for (const node of nodes) node.connect(log);
      return drained();
    case 'report':
      await report(command.reports, command.everyMs);
      return drained();
    case 'cut':
      await Promise.all(nodes.map((node) => node.cut()));
      for (const node of nodes) for (let nth = 0; nth < command.reports; nth++) node.report();
      return;
    case 'rejoin':
      for (const node of nodes) node.connect(log);
      return drained();
    default:
      return command satisfies never;
  }
}

function answer(did: FleetCommand['do']): void {
  const cosignatures = nodes.reduce((sum, node) => sum + node.cosignatures, 0);
  const heads = nodes.map(({ node, head }) => ({ node, ...head }));
  const done: FleetDone = { did, ackMs, welcomeMs, failures, cosignatures, heads };
  say(done);
  [ackMs, welcomeMs, failures] = [[], [], {}];
}

process.once('SIGTERM', () => process.exit(0));
say({ did: 'keys', nodes: nodes.map(({ node, publicKey }) => ({ node, publicKey })) });
for await (const line of createInterface({ input: process.stdin })) {
  const command = fleetCommand.parse(JSON.parse(line));
  await obey(command);
  answer(command.do);
}
process.exit(0);
