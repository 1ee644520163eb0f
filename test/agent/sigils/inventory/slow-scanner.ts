/** Scans a store in full as an agent does that has little time: `slow-scanner.ts FOLDER INVENTORY`. Is killed in the middle. */
import { setTimeout as delay } from 'node:timers/promises';
import { SigilScanner } from '../../../../agent/sigils/scanner.ts';
import { clock, secret } from '../stores.ts';

const [path = '', inventory = ''] = process.argv.slice(2);
const scanner = new SigilScanner({ name: 'main', path, secrets: [secret], clock, pause: () => delay(50) });
await scanner.scan({
  ...{ mode: 'full', state: null, openFindings: [] },
  inventory: { path: inventory, keeps: true, checkpointBytes: 1 },
});
