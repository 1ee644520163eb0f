/**
 * Child process of the power-cut test for files: keeps everything that `kept-files.ts` knows, several times over, below the given
 * folder, and writes into the file `promised` there what it has promised, when it has: `AT NUMBER DETAIL`.
 */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { keepers } from './kept-files.ts';

const [root = '', first = '1', rounds = '1'] = process.argv.slice(2);
const promised = openSync(join(root, 'promised'), 'a');

for (let round = 0; round < Number(rounds); round += 1) {
  for (const [at, keeper] of keepers.entries()) {
    const { number, detail } = await keeper.keep(root, Number(first) + round);
    writeSync(promised, `${at} ${number} ${detail}\n`);
  }
}
