/** A run by hand that takes its time: `slow-run.ts STORE DATADIR [STORE]`. Is killed in the middle. */
import { integrityRun } from '../../../agent/commands/integrity.ts';
import { writeDurably } from '../../../agent/data/durable-file.ts';
import { secret } from '../sigils/stores.ts';
import { runSettings } from './run-settings.ts';

const [path = '', dataDir = '', otherPath] = process.argv.slice(2);
const never = new Int32Array(new SharedArrayBuffer(4));
let readings = 0;
// Every reading is a second after the one before, so that each progress is drawn, and drawing is slow.
const clock = { now: () => Date.now(), monotonicMs: () => 1_000 * readings++ };
const slowly = () => void Atomics.wait(never, 0, 0, 100);
const settings = runSettings(path, dataDir, secret, otherPath);
const quiet = { json: true, stdout: () => {}, stderr: slowly, terminal: true };
const world = { settings, clock, ...quiet, writeFile: writeDurably };
await integrityRun(world, { node: 'lyra', checkpointBytes: 1 });
