/**
 * `node --import tsx scripts/benches/main.ts NAME [--json]`: measures the built programs. Progress goes to stderr, a table to
 * stdout, and with `--json` one JSON object as its last line. A limit that is missed is a result, told as such; exit
 * code 1 means that nothing could be measured, 2 a command line that makes no sense.
 */
import { removeLeftovers } from '../../test/system.ts';
import type { BenchReport } from './bench.ts';
import { type CommandLine, readCommandLine, usage } from './command-line.ts';
import { formatReport, machine } from './report.ts';

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function measure({ bench, ...options }: CommandLine): Promise<BenchReport> {
  const { run } = await bench.load();
  try {
    return await run(options);
  } finally {
    await removeLeftovers();
  }
}

async function main(): Promise<number> {
  const commandLine = readCommandLine(process.argv.slice(2), progress);
  if (commandLine === undefined) {
    process.stderr.write(usage);
    return 2;
  }
  const report = await measure(commandLine);
  process.stdout.write(formatReport(report));
  const facts = { bench: commandLine.name, ...report.facts, ...machine() };
  if (commandLine.json) process.stdout.write(`${JSON.stringify(facts)}\n`);
  return 0;
}

process.exitCode = await main().catch((thrown: unknown) => {
  process.stderr.write(`${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}\n`);
  return 1;
});
