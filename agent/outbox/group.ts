import type { SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Decision, decide, type Room, type Seal, type Wish } from './admission.ts';
import { entryKey, packRecord } from './layout.ts';
import type { BatchOp } from './level-store.ts';
import type { Standing } from './standing.ts';

/** One caller of `append`, waiting. */
export interface AppendCall extends Wish {
  readonly stateOps: readonly BatchOp[];
  readonly resolve: (entries: readonly SignedEntry[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls that share one durable write. */
export interface Group {
  readonly decided: readonly { readonly call: AppendCall; readonly decision: Decision }[];
  readonly ops: readonly BatchOp[];
  readonly after: Standing;
}

/**
 * Takes waiting calls into one batch, in order, until it is large enough. A call that cannot be an entry is rejected
 * alone and leaves no trace in the batch.
 */
export function planGroup(take: () => AppendCall | undefined, from: Standing, room: Room, seal: Seal): Group {
  const decided: { call: AppendCall; decision: Decision }[] = [];
  const ops: BatchOp[] = [];
  let after = from;
  let bytes = 0;
  while (bytes < limits.outboxBatchMaxBytes && after.head.seq - from.head.seq < limits.groupCommitMaxEntries) {
    const call = take();
    if (call === undefined) break;
    const decision = tryDecide(call, after, room, seal);
    if (decision === undefined) continue;
    decided.push({ call, decision });
    after = decision.after;
    const added = opsOf(call, decision);
    ops.push(...added);
    for (const op of added) bytes += op.type === 'put' ? op.value.length : op.key.length;
  }
  return { decided, ops, after };
}

function tryDecide(call: AppendCall, standing: Standing, room: Room, seal: Seal): Decision | undefined {
  try {
    return decide(call, standing, room, seal);
  } catch (error) {
    call.reject(error);
    return undefined;
  }
}

/** The state goes with the entries or not at all: what was not said must not count as told. */
function opsOf({ stateOps }: AppendCall, decision: Decision): readonly BatchOp[] {
  if (decision.outcome !== 'numbered') return [];
  const entries = decision.added.map((signed): BatchOp => {
    return { type: 'put', key: entryKey(decision.after.generation, signed.entry.seq), value: packRecord(signed) };
  });
  return [...entries, ...stateOps];
}

/** Answers the callers of a group whose batch is on disk. */
export function settleGroup({ decided }: Group, dir: string): void {
  for (const { call, decision } of decided) {
    switch (decision.outcome) {
      case 'numbered':
        call.resolve(decision.own);
        break;
      case 'dropped':
        call.resolve([]);
        break;
      case 'refused':
        call.reject(fullError(call, dir));
        break;
    }
  }
}

function fullError({ statements }: AppendCall, dir: string): AppError {
  const kinds = [...new Set(statements.map(({ kind }) => kind))];
  return new AppError('outbox.full', `no room in ${dir} for ${kinds.join(', ')}; say it again when there is`, {
    details: { dir, kinds },
    retryable: true,
  });
}
