import type { RunOutcome } from '../../common/job-words.ts';
import type { Job } from './runs.ts';

/**
 * The line of jobs. Durable, and shared by all collectors of a database. A job is in it from the commit of its request until it is
 * finished, whatever crashes in between; who takes one has it until the lease ends, after which another may take it too.
 */
export interface JobQueue {
  /** Jobs that are due, as the ids of their enforcements. No two callers get the same one. */
  take(limit: number): Promise<readonly string[]>;
  finish(id: string): Promise<void>;
  /** @param dueAtMs Unix milliseconds by the database's clock. */
  putOff(id: string, dueAtMs: number): Promise<void>;
  /** Puts jobs back in line whose lease has ended. */
  reclaim(): Promise<void>;
  /** Puts in line what has no outcome and is not there. @returns how many. */
  restock(): Promise<number>;
}

/** What is known of jobs. Attempts are durable when the promise resolves. */
export interface JobStore {
  /** Unix milliseconds, by the database. */
  now(): Promise<number>;
  job(id: string): Promise<Job | undefined>;
  /** Writes down that a run begins. One after another that only waited takes its place and counts it. @returns its number. */
  begin(id: string): Promise<number>;
  /** Does nothing where the run has ended already. */
  end(id: string, n: number, outcome: RunOutcome, error: string | null): Promise<void>;
}

/** Transactions that were signed. */
export interface PinStore {
  pin(id: string): Promise<SignedPin | undefined>;
  /** Keeps the first one: another that was made at the same time is given up. @returns the one that is kept, durable. */
  keep(id: string, pin: SignedPin): Promise<SignedPin>;
}

/** An Arweave transaction as it is posted. */
export interface SignedPin {
  readonly txId: string;
  /** JSON. */
  readonly tx: string;
}
