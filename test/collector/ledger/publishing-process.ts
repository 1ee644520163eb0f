/** Child process of the kill test: publishes until it is killed, and prints the size of each checkpoint it was handed. */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { fsCheckpointFile } from '../../../collector/ledger/fs-checkpoint-file.ts';
import { fsEvidenceFolder } from '../../../collector/ledger/fs-evidence-folder.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { testAuthor } from '../../authors.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { collectorKeys, stoppedClock, testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';

const [dataDir = ''] = process.argv.slice(2);
const memory = {
  file: fsCheckpointFile(join(dataDir, 'checkpoint'), quietLogger),
  evidence: fsEvidenceFolder(join(dataDir, 'evidence'), testOrigin, stoppedClock),
  logger: quietLogger,
};
const authors = ['node1', 'node2', 'node3'].map(testAuthor);
const store = new FakeLedgerStore();
const ledger = new Ledger({ store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock, memory });
await ledger.start();
await Promise.all(
  authors.map(async (author): Promise<never> => {
    for (;;) {
      await ledger.append(author.more(1));
      writeSync(1, `${(await ledger.checkpoint()).size}\n`);
    }
  }),
);
