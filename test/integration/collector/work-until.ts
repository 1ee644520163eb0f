import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { testPool } from '../../postgres.ts';
import { type Around, workAll, workWorld } from './jobs-world.ts';

/**
 * Works on what is in line until nothing is left, or until it has touched something durable so many times: then it is killed, before
 * that or right after it, so that nobody hears of it: `url touches`.
 */
const [url = '', touches = '0'] = process.argv.slice(2);
let left = Number(touches);
const touched = (): void => {
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
};

const around: Around = (ports) =>
  new Proxy(ports, {
    get: (target, name, receiver) => {
      const method: unknown = Reflect.get(target, name, receiver);
      if (typeof method !== 'function') return method;
      return async (...args: unknown[]) => {
        touched();
        const result: unknown = await Reflect.apply(method, target, args);
        touched();
        return result;
      };
    },
  });

const db = testPool(url);
const ledger = await startLedger(postgresLedgerStore(db));
const world = await workWorld(db, ledger, { around });
await workAll(world, db);
await world.working.close();
await ledger.close();
await db.end();
