import { hash, verify } from '@node-rs/argon2';
import pLimit from 'p-limit';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { PasswordHasher } from './ports.ts';

/** Argon2id, which is what the library takes by itself. */
const options = {
  memoryCost: limits.argon2MemoryKiB,
  timeCost: limits.argon2Passes,
  parallelism: limits.argon2Lanes,
};

/** Costs what any other does, and is of no password that anybody could find. */
const nobodysHash = [
  '$argon2id$v=19',
  `m=${options.memoryCost},t=${options.timeCost},p=${options.parallelism}`,
  Buffer.alloc(16).toString('base64').replace(/=+$/, ''),
  Buffer.alloc(32).toString('base64').replace(/=+$/, ''),
].join('$');

/** A few at a time, so that a flood of sign-ins takes neither all memory nor all threads, and as many more as wait. */
export function argon2Hasher(): PasswordHasher {
  const atATime = pLimit(limits.maxHashings);
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    if (atATime.pendingCount < limits.maxHashingsWaiting) return atATime(work);
    throw new AppError('state.busy', 'too many passwords are being checked right now; try again in some seconds', {
      retryable: true,
    });
  };
  return {
    hash: async (password) => inTurn(() => hash(password, options)),
    verify: async (known, password) => {
      const matches = await inTurn(() => verify(known ?? nobodysHash, password));
      return matches && known !== undefined;
    },
  };
}
