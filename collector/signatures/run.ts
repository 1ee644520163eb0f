/** What a thread is asked: whether these signatures verify. */
export interface Run {
  readonly id: number;
  /** Raw Ed25519 public keys, each once. */
  readonly keys: readonly Uint8Array[];
  readonly signed: readonly SignedPart[];
  /** The messages and their signatures, one behind the other in their order. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface SignedPart {
  /** Place of the key in {@link Run.keys}. */
  readonly key: number;
  /** Of the message, in bytes; a signature of 64 follows it. */
  readonly length: number;
}

/** What it answers: 1 for each signature that verifies, 0 for the others. */
export interface Judged {
  readonly id: number;
  readonly valid: Uint8Array;
}
