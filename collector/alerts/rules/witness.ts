import type { Rule } from './rule.ts';

const fork: Rule = {
  name: 'witness.fork',
  conditions: ({ forks }) =>
    forks.map((node) => ({
      ...{ key: `witness.fork/${node}`, severity: 'critical', node },
      summary: `the agent of ${node} was shown a ledger that contradicts the one it knew (witness.fork holds both checkpoints)`,
    })),
};

const equivocation: Rule = {
  name: 'ledger.equivocation',
  conditions: ({ equivocations }) =>
    equivocations.map((node) => ({
      ...{ key: `ledger.equivocation/${node}`, severity: 'critical', node },
      summary: `two different entries with one number were signed with the key of ${node}: somebody else has it, or its data was put back`,
    })),
};

const behind: Rule = {
  name: 'witness.behind',
  conditions: ({ witnesses: { required, unwitnessedSinceMs } }, { nowMs, settings }) => {
    if (required === 0 || unwitnessedSinceMs === null || nowMs - unwitnessedSinceMs < settings.unwitnessedMs) return [];
    const wanted = required === null ? 'which cannot be had' : `${required} it takes`;
    const summary = `no quorum of witnesses (${wanted}) has cosigned anything that was received since ${new Date(unwitnessedSinceMs).toISOString()}`;
    return [{ key: 'witness.behind/ledger', severity: 'error', summary, node: null }];
  },
};

export const witnessRules: readonly Rule[] = [fork, equivocation, behind];
