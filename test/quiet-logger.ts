import type { Logger } from '../common/log.ts';

const say = () => {};

/** For tests that are not about what is logged. */
export const quietLogger: Logger = { debug: say, info: say, warn: say, error: say };
