import { shownValue, withoutSecrets } from '../../common/secrets.ts';

/** Which values that look secret are to be written into git all the same: all, or those with these names. */
export type Spoken = 'all' | ReadonlySet<string>;

/** What may be written into git, where it stays for ever and everybody who has the repository reads it. */
export interface MayWrite {
  /** A variable's or label's value. */
  value(name: string, value: string): boolean;
  /** A command line under its key. */
  words(key: string, words: readonly string[]): boolean;
}

/** As what may be told of a value (`common/secrets.ts`), unless the operator says otherwise. */
export function mayWrite(spoken: Spoken): MayWrite {
  const isSpoken = (name: string) => spoken === 'all' || spoken.has(name);
  return {
    value: (name, value) => isSpoken(name) || shownValue(name, value) === value,
    words: (key, words) => isSpoken(key) || JSON.stringify(withoutSecrets(words)) === JSON.stringify(words),
  };
}
