import { hearingOfChecks, nightlyOn } from './checked.ts';
import { settingsFor } from './collectors.ts';
import { withLedgerOn } from './opened-ledger.ts';

/** Makes the run that is due, and is killed in the middle of it; the pid of what checks is the last word: `dataDir url`. */
const [dataDir = '', url = ''] = process.argv.slice(2);
await withLedgerOn(dataDir, url, async (ledger, db) => {
  const logger = hearingOfChecks((pid) => {
    process.stdout.write(`${pid}\n`, () => process.kill(process.pid, 'SIGKILL'));
  });
  const nightly = await nightlyOn({ settings: settingsFor(dataDir, url), ledger, db, logger });
  await nightly.look(new AbortController().signal);
});
