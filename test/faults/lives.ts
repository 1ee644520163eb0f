import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fromSource } from '../from-source.ts';
import { type Disk, diskOf, type Leaves } from './disk.ts';
import { recorded, type Step } from './journal.ts';

/** A power cut after so many steps of a life, and what it leaves of what is not synced. */
export interface Moment {
  readonly at: number;
  readonly leaves: Leaves;
}

/** A power cut that happened. */
export interface Cut {
  /** What it has left. */
  readonly dir: string;
  /** What the program had promised in this life by then: the words of each line of the file `promised`. */
  readonly promised: readonly (readonly string[])[];
  /** For messages. */
  readonly when: string;
}

export interface Lives {
  /** An empty folder, for all of it. */
  readonly parent: string;
  /** Of `buildJournal`. */
  readonly library: string;
  readonly count: number;
  /** Beside this file: writes below the folder that is its first argument, and into `promised` there. */
  readonly program: string;
  readonly argumentsOf: (life: number) => readonly string[];
  /** In order; each life goes on from what the last one leaves. */
  readonly momentsOf: (steps: readonly Step[], life: number) => readonly Moment[];
  readonly onCut: (cut: Cut) => Promise<void>;
  /** Called with what the life came to, had there been no power cut. */
  readonly onEnd?: (disk: Disk, root: string) => void;
}

/** Has a program live several times, and cuts the power in each of its lives. */
export async function liveThroughCuts(lives: Lives): Promise<void> {
  const { parent, library, count, program, argumentsOf, momentsOf, onCut, onEnd } = lives;
  const [root, trial, left] = [join(parent, 'root'), join(parent, 'trial'), join(parent, 'left')];
  mkdirSync(root);
  for (let life = 0; life < count; life += 1) {
    const disk = diskOf(root);
    const run = fromSource(join(import.meta.dirname, program));
    const steps = await recorded(library, root, [...run, root, ...argumentsOf(life)]);
    const moments = momentsOf(steps, life);
    let taken = 0;
    for (const { at, leaves } of moments) {
      for (const step of steps.slice(taken, at)) disk.take(step);
      taken = at;
      for (const dir of [trial, left]) rmSync(dir, { recursive: true, force: true });
      mkdirSync(trial);
      disk.cut(trial, leaves);
      // Whoever looks may change it.
      cpSync(trial, left, { recursive: true });
      const when = `life ${life}, after step ${at} of ${steps.length}`;
      await onCut({ dir: trial, promised: promisedOn(disk, root), when });
    }
    for (const step of steps.slice(taken)) disk.take(step);
    onEnd?.(disk, root);
    rmSync(root, { recursive: true });
    cpSync(left, root, { recursive: true });
    rmSync(join(root, 'promised'), { force: true });
  }
}

/** How many steps had been taken when something was just promised, each time. */
export function promisesIn(steps: readonly Step[]): readonly number[] {
  const promised = steps.find((step) => step.type === 'open' && step.path.endsWith('/promised'));
  const file = promised?.type === 'open' ? promised.file : undefined;
  return steps.flatMap((step, at) => (step.type === 'write' && step.file === file ? [at + 1] : []));
}

function promisedOn(disk: Disk, root: string): readonly (readonly string[])[] {
  const lines = disk.read(join(root, 'promised'))?.toString().split('\n').slice(0, -1) ?? [];
  return lines.map((line) => line.split(' '));
}
