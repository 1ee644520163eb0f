import type { ForkReport, Vote, Witnessing } from '../../collector/ws/ports.ts';

export interface QuietRounds extends Witnessing {
  forming: Promise<void> | undefined;
  readonly votes: Vote[];
  readonly reports: ForkReport[];
  readonly misses: number;
}

/** Notes what sessions say and believes all of it. */
export function quietRounds(): QuietRounds {
  const votes: Vote[] = [];
  const reports: ForkReport[] = [];
  let misses = 0;
  return {
    forming: undefined,
    votes,
    reports,
    get misses() {
      return misses;
    },
    missed: () => {
      misses += 1;
    },
    cosigned: async (vote) => void votes.push(vote),
    forked: async (report) => void reports.push(report),
  };
}
