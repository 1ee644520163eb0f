import type { DriftKind } from '../../../common/drift-kind.ts';
import type { Body } from '../../../common/kinds.ts';
import type { DeadLetterCount } from '../../jobs/dead-letters.ts';

/** What the ledger says of a node that may write to it. */
export interface NodeFacts {
  readonly node: string;
  /** When its last entry was received, or else when it was enrolled: Unix milliseconds by the collector's clock. */
  readonly heardAtMs: number;
  /** Of its last report; null when it has made none. `disk` is null where its agent does not say. */
  readonly report: ReportFacts | null;
}

export interface ReportFacts extends Pick<Body<'report'>, 'coverage' | 'stores'> {
  readonly disk: NonNullable<Body<'report'>['disk']> | null;
}

/** Some containers of a node; the count stops at `limits.maxAlertedContainers`. Names are foreign text. */
export interface Concerned {
  readonly node: string;
  readonly count: number;
  /** The first few. */
  readonly containers: readonly string[];
}

/** Drifts that have stood for long enough, without those that a silence covers. */
export interface LastingDrifts extends Concerned {
  readonly kind: DriftKind;
}

/** What the account of a node's minutes misses, of what was received lately. */
export interface Losses {
  readonly node: string;
  /** `coverage.gap` entries, and how long they are together. */
  readonly gaps: number;
  readonly gapMs: number;
  /** `outbox.dropped` entries. */
  readonly dropped: number;
  /** `outbox.recovered` entries. */
  readonly recovered: number;
}

/** The last nightly run of a node. */
export interface LastIntegrityRun {
  readonly node: string;
  /** When its report was received, Unix milliseconds by the collector's clock. */
  readonly receivedAtMs: number;
  /** Null where the body of the entry was erased. */
  readonly status: Body<'integrity.report'>['status'] | null;
}

/** What the collectors of the ledger have checked of it, by the schedule or by hand. Unix milliseconds. */
export interface LedgerCheckFacts {
  /**
   * When the last check that came to an end, whatever it found, was put on record by the collector's clock; null where there is none. One that could
   * not be made has checked nothing. One whose body was erased counts: a check may be ago for longer than bodies are kept.
   */
  readonly endedAtMs: number | null;
  /** When the first one was tried, or a collector was there to make them; null where nobody ever had any made. */
  readonly awaitedSinceMs: number | null;
}

/** How far the witnesses are behind. */
export interface WitnessFacts {
  /** Cosignatures that make a quorum: 0 where nobody is asked for any, null while nobody can say how many it takes. */
  readonly required: number | null;
  /** When the first entry was received that no quorum vouches for, Unix milliseconds; null when there is none. */
  readonly unwitnessedSinceMs: number | null;
}

export interface DeadLetters {
  readonly channel: string;
  readonly count: number;
}

/**
 * Everything that rules judge by, of nodes whose keys are in force. One that could not be read throws the reason at the rule that asks for it,
 * and only at that one: what is not known must not pass for nothing.
 */
export interface Facts {
  readonly nodes: readonly NodeFacts[];
  readonly drifts: readonly LastingDrifts[];
  readonly losses: readonly Losses[];
  /** Nodes that have been shown a fork, and that signed two entries with one number. */
  readonly forks: readonly string[];
  readonly equivocations: readonly string[];
  /** Drifts that stand although they were answered: the last order that came to something failed, was refused or did not last. */
  readonly failedOrders: readonly Concerned[];
  /** Orders that wait for approvals for long. */
  readonly waitingOrders: readonly Concerned[];
  readonly integrityRuns: readonly LastIntegrityRun[];
  readonly ledgerCheck: LedgerCheckFacts;
  readonly witnesses: WitnessFacts;
  readonly deadLetters: readonly DeadLetters[];
  /** Of enforcement jobs. */
  readonly deadJobs: readonly DeadLetterCount[];
}

/** Facts of which each is there, or throws an AppError. */
export function factsFrom(read: { readonly [Name in keyof Facts]: () => Facts[Name] }): Facts {
  return {
    get nodes() {
      return read.nodes();
    },
    get drifts() {
      return read.drifts();
    },
    get losses() {
      return read.losses();
    },
    get forks() {
      return read.forks();
    },
    get equivocations() {
      return read.equivocations();
    },
    get failedOrders() {
      return read.failedOrders();
    },
    get waitingOrders() {
      return read.waitingOrders();
    },
    get integrityRuns() {
      return read.integrityRuns();
    },
    get ledgerCheck() {
      return read.ledgerCheck();
    },
    get witnesses() {
      return read.witnesses();
    },
    get deadLetters() {
      return read.deadLetters();
    },
    get deadJobs() {
      return read.deadJobs();
    },
  };
}
