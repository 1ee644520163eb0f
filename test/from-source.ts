import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { projectRoot } from './system/program.ts';

/**
 * Programs that tests and benches start from source, to be built together with the tests: to translate one anew at each start takes
 * three times as long as the start itself. One that is missing here, or run without a build, is translated.
 */
export const programsFromSource = [
  'agent/main.ts',
  'collector/main.ts',
  'scripts/benches/bare-events.ts',
  'scripts/benches/fill-store.ts',
  'scripts/benches/fleet-agents.ts',
  'scripts/benches/load-writer.ts',
  'scripts/benches/main.ts',
  'scripts/benches/sigil-reader.ts',
  'test/agent/integrity/lock-holder.ts',
  'test/agent/integrity/slow-run.ts',
  'test/agent/outbox/appender.ts',
  'test/agent/outbox/queuer.ts',
  'test/agent/sigils/history-writer.ts',
  'test/agent/sigils/inventory/slow-scanner.ts',
  'test/agent/sigils/kept/kept-nights.ts',
  'test/agent/sigils/store-reader.ts',
  'test/collector/ledger/publishing-process.ts',
  'test/fakes/sigil-writer-process.ts',
  'test/faults/kept-life.ts',
  'test/faults/outbox-life.ts',
  'test/integration/collector/erase-until.ts',
  'test/integration/collector/migrate-once.ts',
  'test/integration/collector/nightly-until.ts',
  'test/integration/collector/use-embedded.ts',
  'test/integration/collector/work-until.ts',
  'test/system/writer-process.ts',
];

/** Begins the name of the folder that a test run builds into. */
export const buildFolderPrefix = '.test-build-';

/** Words for Node.js to run a program by: as the test run that we are part of has built it, else from its source. */
export function fromSource(program: string): readonly string[] {
  const folder = buildFolder();
  const built = folder && join(folder, relative(projectRoot, program).replace(/\.ts$/, '.js'));
  return built !== undefined && existsSync(built) ? [built] : ['--import', 'tsx', program];
}

/** The one that this module was built into; undefined when it was not. */
function buildFolder(): string | undefined {
  const [name, ...below] = relative(projectRoot, import.meta.filename).split('/');
  return name?.startsWith(buildFolderPrefix) && below.length > 0 ? join(projectRoot, name) : undefined;
}
