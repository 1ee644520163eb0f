import { eraseEntries } from '../../../collector/ledger/erasure/erasure.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { testPool } from '../../postgres.ts';
import { breakingAt, breakingPoints, erasureNeeds, exportingTo, request } from './erasable.ts';

/** Erases what comes before an index, and is killed at the named point: `url ownerUrl index folder point`. */
const [url = '', ownerUrl = '', to = '', folder = '', named] = process.argv.slice(2);
const point = breakingPoints.find((it) => it === named);
if (point === undefined) throw new Error(`no breaking point ${named}`);
const db = testPool(url);
const ledger = await startLedger(postgresLedgerStore(db));
const whole = { needs: erasureNeeds({ db, ledger, ownerUrl }), exporting: exportingTo(folder, { db, ledger }) };
const { needs, exporting } = breakingAt(point, () => process.kill(process.pid, 'SIGKILL'), whole);
await eraseEntries(needs, { ...request(Number(to)), exportSpan: exporting });
