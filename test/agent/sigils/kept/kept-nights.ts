/**
 * An agent's nights over a store, one after the other, until it kills itself at the given step of the work or somebody else does.
 * `kept-nights.ts STORE DATA_DIR STEP FIRST_NIGHT`; says a line for each night, and ends after a hundred.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import { dayMs, Keeping } from './keeping.ts';

const [path = '', dataDir = '', step = '', first = ''] = process.argv.slice(2);
const keeping = new Keeping(path, dataDir, { keep: 2 });
let [ticks, steps] = [0, 0];
// Every moment is one to rest at, so that every table, chunk and block is a step.
keeping.clock.monotonicMs = () => {
  ticks += 10;
  return ticks;
};
keeping.clock.stepMs = Number(first) * dayMs;
for (let night = 0; night < 100; night++) {
  await keeping.night(async () => {
    steps++;
    if (steps === Number(step)) process.kill(process.pid, 'SIGKILL');
    await immediate();
  });
  console.log(keeping.logged.splice(0).join(' '));
}
