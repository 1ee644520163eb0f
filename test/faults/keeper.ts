import { join } from 'node:path';

/** What was kept: a number that only grows, and what goes with it. */
export interface Kept {
  readonly number: number;
  readonly detail: string;
}

/** One thing that a program says is on disk. */
export interface Keeper {
  readonly name: string;
  /** Keeps the next one; resolved means promised. */
  keep(root: string, number: number): Promise<Kept>;
  /** What a start finds; undefined for nothing. @throws when a program could not start with what is there, or takes it for something else */
  find(root: string): Promise<Kept | undefined>;
}

/** Nothing goes with it. */
export const only = (number: number): Kept => ({ number, detail: '' });

/** The data directory of the agent. */
export const agentIn = (root: string) => join(root, 'agent');
