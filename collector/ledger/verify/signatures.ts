import type { KeyObject } from 'node:crypto';
import type { VerifySignature } from '../../../common/keys.ts';
import type { Found } from './fault.ts';

/** Enough that whoever checks never waits for the next one, few enough that what they hold does not matter. */
const maxUnderWay = 512;

export interface Signed {
  readonly key: KeyObject;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signature checks beside everything else, a bounded number at once. */
export class Signatures {
  readonly #verify: VerifySignature;
  #underWay = 0;
  #first: Found | undefined;
  #broken: { readonly thrown: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(verify: VerifySignature) {
    this.#verify = verify;
  }

  /** @param fault what it means when the signature is not the key's over the message. */
  add({ key, message, signature }: Signed, fault: () => Found): void {
    this.#underWay += 1;
    this.#verify(key, message, signature).then(
      (is) => this.#done(is ? undefined : fault()),
      (thrown: unknown) => {
        this.#broken ??= { thrown };
        this.#done(undefined);
      },
    );
  }

  /** Waits until few enough are under way. @throws Found as soon as a signature is wrong: the one at the lowest index. */
  async room(): Promise<void> {
    if (this.#first !== undefined || this.#broken !== undefined) await this.settled();
    await this.#until(maxUnderWay);
  }

  /** Waits for all. @throws Found for the wrong one at the lowest index. */
  async settled(): Promise<void> {
    await this.#until(0);
    if (this.#broken !== undefined) throw this.#broken.thrown;
    if (this.#first !== undefined) throw this.#first;
  }

  async #until(most: number): Promise<void> {
    while (this.#underWay > most) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #done(fault: Found | undefined): void {
    this.#underWay -= 1;
    if (fault !== undefined && placeOf(fault) < placeOf(this.#first)) this.#first = fault;
    this.#wake();
  }
}

function placeOf(fault: Found | undefined): number {
  return fault?.found.index ?? Number.POSITIVE_INFINITY;
}
