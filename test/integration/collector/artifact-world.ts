import { hash } from 'node:crypto';
import type { EnforcementWish } from '../../../collector/artifacts/ports.ts';
import type { ArtifactWish } from '../../../collector/artifacts/register.ts';
import { artifactSettings } from '../../../collector/artifacts/settings.ts';
import { createSweeper, type Sweeper, type SweepNeeds } from '../../../collector/artifacts/sweep.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { aloneInSweep, postgresSweepStore } from '../../../collector/postgres/artifact-sweep-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import type { Drift } from '../../../common/drift.ts';
import type { Statement } from '../../../common/kinds.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { firstEntryMs } from '../../authors.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';

export const dayMs = 86_400_000;
export const hashOf = (name: string) => hash('sha256', name, 'hex');

/** A clock that is set by hand. */
export function handClock() {
  let nowMs = firstEntryMs;
  return {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

export type HandClock = ReturnType<typeof handClock>;

export async function ledgerAt(db: Db, clock: HandClock): Promise<Ledger> {
  const ledger = new Ledger({ store: postgresLedgerStore(db), origin: testOrigin, keys: collectorKeys, clock });
  await ledger.start();
  return ledger;
}

export function wishOf(name: string, different: Partial<ArtifactWish> = {}): ArtifactWish {
  const lineage = { image: `${name}:1`, commit: 'c1', builder: 'ci', signature: { by: 'ci', verified: true } };
  return { id: hashOf(name), name, kind: 'image', lineage, driftScore: null, scorecardScore: null, ...different };
}

export function containerOf(name: string, image: { readonly id: string; readonly ref?: string }): ObservedContainer {
  return {
    ...{ id: hashOf(`container ${name}`), name, image: image.ref ?? name, imageId: `sha256:${image.id}` },
    ...{ state: 'running', health: 'none', exitCode: 0, restartCount: 0 },
    ...{ createdAt: '2026-01-01T00:00:00Z', startedAt: '2026-01-01T00:00:00Z', finishedAt: null },
  };
}

export function observed(...upserted: ObservedContainer[]): Statement {
  return { kind: 'observed', body: { baseline: true, upserted, removed: [] } };
}

export function drifted(name: string, kind: Drift['kind'], commit: string | null = null): Statement {
  const drift = { id: `${kind}/${name}`, kind, container: name, containerId: null, differences: [] };
  return { kind: 'drift.opened', body: { drift, commit } };
}

export interface TestSweep extends Sweeper {
  /** One sweep to its end. */
  once(): Promise<{ looked: number; scored: number; requested: number }>;
  readonly asked: EnforcementWish[];
}

/** @param thresholds as in the settings */
export function sweeperOn(
  { db, url, ledger, clock }: { db: Db; url: string; ledger: Ledger; clock: HandClock },
  thresholds: readonly unknown[] = [],
  more: Partial<SweepNeeds> = {},
): TestSweep {
  const { scoring } = artifactSettings.parse({ scoring: { weights: {}, thresholds } });
  const asked: EnforcementWish[] = [];
  const sweeper = createSweeper({
    ...{ scoring, ledger, clock, logger: quietLogger, store: postgresSweepStore(db) },
    alone: aloneInSweep({ url, applicationName: 'test' }),
    requestEnforcement: async (wish) => asked.push(wish),
    ...more,
  });
  const going = new AbortController().signal;
  return {
    ...sweeper,
    asked,
    once: async () => (await sweeper.sweep(going)) ?? { looked: -1, scored: -1, requested: -1 },
  };
}
