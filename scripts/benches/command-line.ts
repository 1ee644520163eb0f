import { parseArgs } from 'node:util';
import type { Bench, BenchOptions } from './bench.ts';

interface KnownBench {
  readonly summary: string;
  readonly load: () => Promise<Bench>;
}

const benches: Readonly<Record<string, KnownBench>> = {
  api: {
    summary:
      'lists of the API beside bare handlers with the same statements (--records ENTRIES, --runs N, --seconds N)',
    load: async () => (await import('./api.ts')).api,
  },
  'agent-footprint': {
    summary: 'memory and processor time of an agent with 50 containers and a store of a million records (--seconds N)',
    load: async () => (await import('./agent-footprint.ts')).agentFootprint,
  },
  detect: {
    summary: 'from an engine event to the drift in the ledger (--runs N, --records CONTAINERS)',
    load: async () => (await import('./detect.ts')).detect,
  },
  drift: {
    summary: 'compiling and comparing 1,000 containers (--runs N, --records CONTAINERS)',
    load: async () => (await import('./drift.ts')).drift,
  },
  enforce: {
    summary: 'from the start of a forbidden container to its death, beside a bare process that kills it (--runs N)',
    load: async () => (await import('./enforce.ts')).enforce,
  },
  fleet: {
    summary:
      'many agents with a report a minute, all cut off and back at once (--agents N, --seconds N, --records REPORTS)',
    load: async () => (await import('./fleet.ts')).fleet,
  },
  fuzz: {
    summary: 'whatever somebody might send to a collector, from a seed (--seconds N, --runs SEED)',
    load: async () => (await import('./fuzz.ts')).fuzz,
  },
  'ledger-append': {
    summary: 'entries into the ledger beside a bare COPY and bare verification (--runs N, --seconds N, --records N)',
    load: async () => (await import('./ledger-append.ts')).ledgerAppend,
  },
  'ledger-verify': {
    summary: 'verification of a ledger beside a loop that only reads and hashes (--records N, --runs N)',
    load: async () => (await import('./ledger-verify.ts')).ledgerVerify,
  },
  'sigil-scan': {
    summary: 'a full scan of a sigil store beside plain reading of it, and one of what is new (--records N, --runs N)',
    load: async () => (await import('./sigil-scan.ts')).sigilScan,
  },
  'snapshot-load': {
    summary: 'what minute scans cost the program that writes the store (--runs PAIRS, --seconds N)',
    load: async () => (await import('./snapshot-load.ts')).snapshotLoad,
  },
};

export const usage = [
  'usage: ./scripts/bench NAME [--json] [--runs N] [--seconds N] [--records N] [--agents N]',
  '',
  ...Object.entries(benches).map(([name, { summary }]) => `  ${name.padEnd(16)}  ${summary}`),
  '',
].join('\n');

export interface CommandLine extends BenchOptions {
  readonly bench: KnownBench;
  readonly name: string;
  readonly json: boolean;
}

/** Undefined for a command line that makes no sense; what is wrong with its options goes to `progress`. */
export function readCommandLine(argv: readonly string[], progress: (text: string) => void): CommandLine | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        runs: { type: 'string' },
        seconds: { type: 'string' },
        records: { type: 'string' },
        agents: { type: 'string' },
      },
    });
    const [name = ''] = positionals;
    const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
    if (bench === undefined || positionals.length !== 1) return undefined;
    const runs = count(values.runs);
    const seconds = count(values.seconds);
    const records = count(values.records);
    const agents = count(values.agents);
    return { bench, name, json: values.json, runs, seconds, records, agents, progress };
  } catch (thrown) {
    progress(thrown instanceof Error ? thrown.message : String(thrown));
    return undefined;
  }
}

function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`${text} is not a number of 1 or more`);
  return Number(text);
}
