import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { removeLeftovers, takeCareOf } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';
import { servicesVariable } from '../system/service.ts';
import { bootMachine, whyNoMachine } from './machine.ts';
import { makeUsers } from './world.ts';

/**
 * Runs test files as `test/run.ts` does, with the same options, on a machine whose first process is systemd: there the programs of the
 * system run as services, each under its shipped unit (`test/system/service.ts`).
 */

/** Where the machine has this project: no unit hides it, as they hide homes and `/tmp`. */
const place = '/srv/sigilwatch';

/** Files that have nothing to run as a service, and why. */
const apart = new Map([
  ['bench.test.ts', 'measures programs without what surrounds them'],
  ['containers.test.ts', 'its programs are services of an engine'],
  ['demo.test.ts', 'the demo is for machines without units, and starts its programs itself'],
  ['deploy-again.test.ts', 'has machines of its own, with what packages put there'],
  ['deploy.test.ts', 'has machines of its own, with what packages put there'],
  ['packages-elsewhere.test.ts', 'looks at packages for other machines'],
  ['packages.test.ts', 'has machines of its own, with what packages put there'],
]);

const args = process.argv.slice(2);
const whyApart = (arg: string) => apart.get(basename(arg));
for (const arg of args) {
  const why = whyApart(arg);
  if (why !== undefined) process.stdout.write(`not as services: ${arg} (${why})\n`);
}
const chosen = args.filter((arg) => whyApart(arg) === undefined);
const report = args.includes('--report') ? args[args.indexOf('--report') + 1] : undefined;

/** A report as `test/run.ts` would have made it. */
function reportNothingRun(text: string): void {
  if (report === undefined) process.stdout.write(text);
  else writeFileSync(report, text);
}

async function runAsServices(): Promise<void> {
  // Of this machine, so that its engine sees it too, and below /var/lib, where systemd gives folders to the users of units. A short
  // name, for the sockets in it.
  const folder = mkdtempSync('/var/lib/sgw-');
  const removeNow = () => rmSync(folder, { recursive: true, force: true });
  takeCareOf({ remove: async () => removeNow(), removeNow });
  const reports = report === undefined ? {} : { [dirname(report)]: dirname(report) };
  const machine = await bootMachine({ shared: { [place]: projectRoot, [folder]: folder, ...reports } });
  machine.output('chmod', '711', folder);
  makeUsers(machine);
  const settings = Object.entries(process.env).filter(([name]) => name.startsWith('SIGILWATCH_TEST_'));
  const said = [...settings, [servicesVariable, '1'], ['TMPDIR', folder]].map((pair) => pair.join('='));
  const run = ['node', '--import', 'tsx', 'test/run.ts', ...chosen];
  process.exitCode = await machine.attend('env', `--chdir=${place}`, ...said, ...run);
  await removeLeftovers();
}

const reason = whyNoMachine();
if (reason !== undefined) reportNothingRun(`skipped programs as services: ${reason}\ncounts 0 0 1\n`);
else if (!chosen.some((arg) => arg.endsWith('.test.ts'))) reportNothingRun('counts 0 0 0\n');
else await runAsServices();
