import type { Found } from './fault.ts';

/** Enough that the thread pool never waits for the next one, few enough that what they hold does not matter. */
const maxUnderWay = 512;

/** Signature checks on the thread pool, a bounded number at once, beside everything else. */
export class Signatures {
  #underWay = 0;
  #first: Found | undefined;
  #broken: { readonly thrown: unknown } | undefined;
  #wake: () => void = () => {};

  /** @param valid being checked. @param fault what it means when it is not. */
  add(valid: Promise<boolean>, fault: () => Found): void {
    this.#underWay += 1;
    valid.then(
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
