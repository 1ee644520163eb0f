import { once } from 'node:events';
import { openEmbedded } from '../../../collector/postgres/embedded.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** Uses the embedded server below the first argument until standard input ends. */
const dataDir = process.argv[2] ?? '';
const server = await openEmbedded({ dataDir, newPassword: () => 'a-password', logger: quietLogger });
process.stdout.write('in use\n');
process.stdin.resume();
await once(process.stdin, 'end');
await server.release();
