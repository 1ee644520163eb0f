import { collectorAuthor, entryHash, parseEntry } from '../../../common/entry.ts';
import { toAppError } from '../../../common/errors.ts';
import { type ExportEnd, type ExportEntry, parseExportEntry } from '../../../common/export-line.ts';
import type { JudgedCheckpoint } from '../../../common/judgement.ts';
import { rawPublicKey, verifyBytesAsync } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash } from '../../../common/merkle.ts';
import type { Policy } from '../../../common/policy.ts';
import { InclusionRun } from '../../../common/proof-run.ts';
import { AuthorKeys, isForeignKind, type Outline, readOutline } from '../author-keys.ts';
import { MissingBodies } from './missing.ts';

/*
 * Verification of an export line by line: needs the checkpoint of its last line and a policy, and nothing else. Believes no
 * line before its entry is proved to be in the tree that the checkpoint signs.
 */

export const exportFaults = [
  'checkpoint',
  'quorum',
  'line',
  'missing',
  'order',
  'body',
  'leaf_hash',
  'proof',
  'author',
  'chain',
  'signature',
] as const;

/** One thing that is wrong. */
export interface ExportFault {
  readonly fault: (typeof exportFaults)[number];
  /** The entry at fault; null when it is none in particular. */
  readonly index: number | null;
  /** From 1; null when it is about the file as a whole. */
  readonly line: number | null;
  readonly message: string;
}

export interface ExportNeeds {
  readonly end: ExportEnd;
  readonly judged: JudgedCheckpoint;
  readonly policy: Policy;
  /** An author whose key is not known is a fault, too. */
  readonly requireSignatures: boolean;
  readonly onFault: (fault: ExportFault) => void;
}

export interface ExportCounts {
  /** Entries of the span that were proved, those of them without body, and of these the ones that no erasure accounts for. */
  entries: number;
  dropped: number;
  unaccounted: number;
  /** Signatures by their authors: verified, and not verifiable for want of a key, by author. */
  signed: number;
  readonly unverifiable: Map<string, number>;
  /** `at` of the first and last entry with a body. */
  firstAt: string | undefined;
  lastAt: string | undefined;
}

interface ChainPlace {
  readonly seq: number;
  readonly hash: string;
  /** Of which unbroken stretch of entries it is. */
  readonly stretch: number;
}

/** Takes the lines of one export in order. Memory grows with the number of authors, and with that of gaps between bodies, only. */
export class ExportVerifier {
  readonly counts: ExportCounts = {
    ...{ entries: 0, dropped: 0, unaccounted: 0, signed: 0, unverifiable: new Map() },
    ...{ firstAt: undefined, lastAt: undefined },
  };
  readonly #needs: ExportNeeds;
  readonly #keys: AuthorKeys;
  readonly #run: InclusionRun;
  readonly #chains = new Map<string, ChainPlace>();
  readonly #missing = new MissingBodies();
  /** Line that is due next, counted from 0: first the context, then the span. */
  #due = 0;
  /** The line after the last one that was proved to be where it is. */
  #settled = 0;
  /** Goes up wherever entries in between are not to be seen. */
  #stretch = 0;

  constructor(needs: ExportNeeds) {
    this.#needs = needs;
    this.#keys = new AuthorKeys(needs.judged.logKey, needs.policy);
    this.#run = new InclusionRun(needs.judged.checkpoint);
  }

  /**
   * Checks a line of an entry.
   * @param text undefined when it is too long or not UTF-8.
   * @returns when its signature is checked, on the thread pool; it never rejects for something wrong with the line.
   */
  take(text: string | undefined, line: number): Promise<void> {
    const due = this.#indexAt(this.#due);
    const entry = this.#parse(text, line, due);
    if (entry === undefined || !this.#place(entry, line, due)) return Promise.resolve();
    const { index } = entry;
    const { from } = this.#needs.end;
    // What comes before the span is picked out of what happened, so nothing follows directly on it.
    if (from > 0 && index <= from) this.#stretch += 1;
    if (index >= from) this.counts.entries += 1;
    if (entry.body === undefined) {
      this.#miss(index, line);
      return Promise.resolve();
    }
    return this.#checkBody(index, line, entry.body);
  }

  /** After the last entry's line, when all signatures are checked. */
  finish(line: number): void {
    this.#settleMissing();
    this.#finishLines(line);
  }

  #finishLines(line: number): void {
    const { from, to, context } = this.#needs.end;
    const due = this.#indexAt(this.#due);
    if (due === undefined) return;
    const all = context.length + to - from;
    this.#fault('missing', due, line, `${all - this.#due} entries, from ${due} on, are missing at the end`);
  }

  /** Nothing is said about it yet: the entry that tells of an erasure comes after those that it took. */
  #miss(index: number, line: number): void {
    this.#stretch += 1;
    if (index < this.#needs.end.from) {
      const message = 'the entry is here for the key it tells of, and its body, which is never erased, is not';
      this.#fault('body', index, line, message);
      return;
    }
    this.counts.dropped += 1;
    if (this.#missing.add(index, line)) return;
    const message = `bodies are missing in more than ${limits.maxExportGaps} places, as no erasure leaves them`;
    this.#fault('body', index, line, message);
  }

  #settleMissing(): void {
    const { unaccounted } = this.#missing;
    if (unaccounted === undefined) return;
    const { entries, first } = unaccounted;
    this.counts.unaccounted = entries;
    const which =
      entries === 1 ? 'the body of this entry is' : `the bodies of ${entries} entries, from this one on, are`;
    this.#fault(
      'body',
      first.from,
      first.line,
      `${which} missing, and no entry ledger.erased in this export accounts for that; if it was erased, export up to the entry ledger.erased that says so, or use the export that was made before the erasure; otherwise somebody took it out`,
    );
  }

  /** By the collector's signature, which is verified. */
  #account(bytes: Buffer, { index, line }: { index: number; line: number }): void {
    try {
      const statement = parseEntry(bytes);
      // Only what is before it can have been erased.
      if (statement.kind !== 'ledger.erased' || statement.body.to > index) return;
      const { to, keptBodies } = statement.body;
      const excess = this.#missing.account(statement.body);
      if (excess === 0) return;
      const message = `before entry ${to}, ${keptBodies} bodies were kept, as this entry says, and here ${excess} more are missing than were erased`;
      this.#fault('body', index, line, `${message}; somebody took them out: make the export anew`);
    } catch (thrown) {
      this.#fault('author', index, line, toAppError(thrown).message);
    }
  }

  #parse(text: string | undefined, line: number, due: number | undefined): ExportEntry | undefined {
    try {
      if (text !== undefined) return parseExportEntry(text);
      this.#fault('line', due ?? null, line, 'the line is not UTF-8, or longer than any entry can be');
    } catch (thrown) {
      this.#fault('line', due ?? null, line, toAppError(thrown).message);
    }
    this.#due += 1;
    this.#stretch += 1;
    return undefined;
  }

  /** Whether the entry was logged, and this is the place for its line. */
  #place(entry: ExportEntry, line: number, due: number | undefined): boolean {
    const { index, body } = entry;
    if (body !== undefined && !leafHash(Buffer.from(body.text), body.signature).equals(entry.leafHash)) {
      this.#lose('leaf_hash', due ?? index, line, 'entry, signature and leaf hash do not belong together');
      return false;
    }
    const problem = this.#whyNotProved(entry, index);
    if (problem === undefined) return index === due ? this.#settle(this.#due) : this.#misplaced(index, line, due);
    if (index !== due && due !== undefined && this.#whyNotProved(entry, due) === undefined) {
      this.#lose('line', due, line, `the line says that it is entry ${index}`);
    } else {
      this.#lose('proof', due ?? index, line, problem);
    }
    return false;
  }

  #whyNotProved({ leafHash, proof }: ExportEntry, index: number): string | undefined {
    try {
      this.#run.verify(index, leafHash, proof);
      return undefined;
    } catch (thrown) {
      return toAppError(thrown).message;
    }
  }

  #settle(at: number): boolean {
    this.#due = at + 1;
    this.#settled = at + 1;
    return true;
  }

  /** A fault of the line that is due: whatever it was, the next one is next. */
  #lose(fault: ExportFault['fault'], index: number, line: number, message: string): void {
    this.#fault(fault, index, line, message);
    this.#due += 1;
    this.#stretch += 1;
  }

  /** An entry that was logged, where another one is due. */
  #misplaced(index: number, line: number, due: number | undefined): boolean {
    const at = this.#placeOf(index);
    if (at === undefined || at < this.#settled) {
      const why = at === undefined ? 'does not belong into this export' : 'is there twice, or not in its place';
      this.#fault('order', index, line, `the entry ${why}`);
      return false;
    }
    // Broken lines before it may have been more or fewer than entries; they are told already.
    if (due !== undefined && at > this.#due)
      this.#fault('missing', due, line, `the line of entry ${index} stands here`);
    this.#stretch += 1;
    return this.#settle(at);
  }

  #indexAt(place: number): number | undefined {
    const { from, to, context } = this.#needs.end;
    if (place < context.length) return context[place];
    const index = from + place - context.length;
    return index < to ? index : undefined;
  }

  #placeOf(index: number): number | undefined {
    const { from, to, context } = this.#needs.end;
    if (index >= to) return undefined;
    if (index >= from) return context.length + index - from;
    const place = context.indexOf(index);
    return place < 0 ? undefined : place;
  }

  async #checkBody(index: number, line: number, { text, signature }: { text: string; signature: Buffer }) {
    const outline = readOutline(text);
    if (outline === undefined) return this.#fault('author', index, line, 'what was logged is not an entry');
    const bytes = Buffer.from(text);
    this.#checkChain(outline, bytes, { index, line });
    if (index >= this.#needs.end.from) {
      this.counts.firstAt ??= outline.at;
      this.counts.lastAt = outline.at;
    }
    if (isForeignKind(outline)) {
      this.#fault('author', index, line, `${outline.author} may not make a ${outline.kind} entry`);
    }
    const known = this.#keys.of(outline.author);
    this.#learn(outline, bytes, { index, line });
    if (known.key === undefined) return this.#unverifiable(outline, known.why, { index, line });
    if (await verifyBytesAsync(known.key, bytes, signature)) {
      this.counts.signed += 1;
      if (outline.kind === 'ledger.erased' && outline.author === collectorAuthor) this.#account(bytes, { index, line });
      return;
    }
    const whose = known.from === 'policy' ? 'that the policy has for it as a witness' : 'in force at this entry';
    this.#fault('signature', index, line, `not signed with the key of ${outline.author} ${whose}`);
  }

  #checkChain({ author, seq, prev }: Outline, bytes: Buffer, at: { index: number; line: number }): void {
    const last = this.#chains.get(author);
    const unbroken = last?.stretch === this.#stretch;
    if (last !== undefined && (unbroken ? seq !== last.seq + 1 || prev !== last.hash : seq <= last.seq)) {
      this.#fault('chain', at.index, at.line, `entry ${seq} of ${author} does not follow its entry ${last.seq}`);
    }
    this.#chains.set(author, { seq, hash: entryHash(bytes), stretch: this.#stretch });
  }

  /** The few entries that say something about keys are read in full. */
  #learn({ kind, author }: Outline, bytes: Buffer, at: { index: number; line: number }): void {
    if (kind !== 'ledger.created' && kind !== 'node.enrolled' && kind !== 'node.revoked') return;
    // In a node's name it is a fault already, and teaches nothing.
    if (isForeignKind({ author, kind })) return;
    try {
      const statement = parseEntry(bytes);
      this.#keys.learn(statement);
      if (statement.kind === 'ledger.created') this.#checkCreation(statement.body, at);
    } catch (thrown) {
      this.#fault('author', at.index, at.line, toAppError(thrown).message);
    }
  }

  #checkCreation(body: { origin: string; collectorKey: string }, at: { index: number; line: number }): void {
    const { logKey } = this.#needs.judged;
    if (at.index !== 0) this.#fault('author', at.index, at.line, 'only the first entry creates the ledger');
    if (body.origin === logKey.name && body.collectorKey === rawPublicKey(logKey.publicKey).toString('base64')) return;
    this.#fault('author', at.index, at.line, `the ledger was created as ${body.origin}, or under another key`);
  }

  #unverifiable({ author }: Outline, why: 'revoked' | 'unknown', { index, line }: { index: number; line: number }) {
    const { unverifiable, dropped } = this.counts;
    // Who reads from the beginning, with nothing left out, knows everybody who was ever let in.
    const whole = this.#needs.end.from === 0 && dropped === 0 && this.#stretch === 0;
    if (why === 'revoked' || whole) return this.#fault('author', index, line, `${author} had no key in force`);
    unverifiable.set(author, (unverifiable.get(author) ?? 0) + 1);
    if (this.#needs.requireSignatures) {
      this.#fault('signature', index, line, `no key of ${author} is known to check the signature with`);
    }
  }

  #fault(fault: ExportFault['fault'], index: number | null, line: number, message: string): void {
    this.#needs.onFault({ fault, index, line, message });
  }
}
