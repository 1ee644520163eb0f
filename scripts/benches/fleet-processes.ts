import { join } from 'node:path';
import type { z } from 'zod';
import { fromSource } from '../../test/from-source.ts';
import { type Program, projectRoot, startProgram } from '../../test/system.ts';
import { type FleetCommand, type FleetDone, fleetDone, fleetKeys } from './fleet-words.ts';

/** Agents in one process: what they compute is to keep no other core busy than the collector's neighbours would. */
const agentsPerProcess = 500;
const patienceMs = 20 * 60_000;

/** The agents of the bench, in as few processes as they fit into. */
export interface FleetProcesses {
  readonly nodes: z.infer<typeof fleetKeys>['nodes'];
  readonly pids: readonly number[];
  /** Resolves with what all of them answered together. Each command once. */
  run(command: FleetCommand): Promise<FleetDone>;
  /** Not a packet more goes to the collector, and none comes from it; nobody says goodbye. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

export async function startFleetProcesses(agents: number, firstMinuteMs: number): Promise<FleetProcesses> {
  const programs = Array.from({ length: Math.ceil(agents / agentsPerProcess) }, (_, at) => {
    const first = 1 + at * agentsPerProcess;
    const count = Math.min(agentsPerProcess, agents - at * agentsPerProcess);
    const path = join(projectRoot, 'scripts/benches/fleet-agents.ts');
    const args = [...fromSource(path), String(first), String(count), String(firstMinuteMs)];
    return startProgram({ name: `agents from ${first}`, command: process.execPath, args });
  });
  const keys = await Promise.all(programs.map((program) => answerOf(program, 'keys', fleetKeys)));
  const signal = (name: NodeJS.Signals): void => {
    for (const { pid } of programs) process.kill(pid, name);
  };
  return {
    nodes: keys.flatMap(({ nodes }) => nodes),
    pids: programs.map(({ pid }) => pid),
    run: async (command) => {
      for (const program of programs) program.send(JSON.stringify(command));
      const answers = programs.map((program) => answerOf(program, command.do, fleetDone));
      return together(await Promise.all(answers));
    },
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    stop: async () => {
      await Promise.all(programs.map((program) => program.stop()));
    },
  };
}

/** Each thing is asked for once. */
function answerOf<T>(program: Program, did: string, schema: z.ZodType<T>): Promise<T> {
  const start = `{"did":"${did}"`;
  const pick = (line: string): T | undefined => (line.startsWith(start) ? schema.parse(JSON.parse(line)) : undefined);
  return program.find(`answers ${did}`, pick, patienceMs);
}

function together(answers: readonly FleetDone[]): FleetDone {
  const failures: Record<string, number> = {};
  for (const one of answers) {
    for (const [code, count] of Object.entries(one.failures)) failures[code] = (failures[code] ?? 0) + count;
  }
  return {
    did: answers[0]?.did ?? 'connect',
    ackMs: answers.flatMap(({ ackMs }) => ackMs),
    welcomeMs: answers.flatMap(({ welcomeMs }) => welcomeMs),
    failures,
    cosignatures: answers.reduce((sum, { cosignatures }) => sum + cosignatures, 0),
    heads: answers.flatMap(({ heads }) => heads),
  };
}
