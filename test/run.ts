import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { parseArgs } from 'node:util';
import { bundleTests } from './bundle.ts';
import { programsFromSource } from './from-source.ts';
import { makeTestTemplate, openTestServer, testDatabaseVariable, testTemplateVariable } from './postgres.ts';
import { report } from './reporter.ts';
import { makeTemporaryFolder, takeCareOf } from './system/leftovers.ts';
import { madeOnceVariable } from './system/made-database.ts';

/** Runs test files, each in a process of its own, and writes the report of `reporter.ts` to a file or to stdout. */
const { values, positionals } = parseArgs({
  options: {
    concurrency: { type: 'string', default: '1' },
    'timeout-ms': { type: 'string', default: '600000' },
    report: { type: 'string' },
    'with-postgres': { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

// One server for all files that want one: a cluster takes longer to make than most of them take to run.
const server = values['with-postgres'] ? await openTestServer() : undefined;
if (server !== undefined) {
  process.env[testDatabaseVariable] = server.url;
  process.env[testTemplateVariable] = await makeTestTemplate(server.url);
  takeCareOf({ remove: server.stop, removeNow: () => {} });
}

process.env[madeOnceVariable] = makeTemporaryFolder('sigilwatch-made-').path;

const bundle = await bundleTests(process.cwd(), positionals, programsFromSource);
takeCareOf({ remove: async () => bundle.remove(), removeNow: bundle.remove });
// What the runner starts, it starts with the flags that it has itself; the loader that reads our source is not for them.
process.execArgv.splice(0, process.execArgv.length, '--enable-source-maps');

const events = run({
  files: bundle.files,
  concurrency: Number(values.concurrency),
  timeout: Number(values['timeout-ms']),
  // Node can spin for ever while it takes a finished process apart in which a request was still under way.
  forceExit: true,
});
events.on('test:fail', () => {
  process.exitCode = 1;
});
await pipeline(
  report(events, bundle.sourceOf, bundle.files),
  values.report === undefined ? process.stdout : createWriteStream(values.report),
);
await server?.stop();
