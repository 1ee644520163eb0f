import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, type AgentOptions } from '../../agent/agent.ts';
import { DesiredSource } from '../../agent/desired/desired-source.ts';
import { gitRepository } from '../../agent/desired/git.ts';
import { dockerEngine } from '../../agent/docker/dockerode.ts';
import type { Journal } from '../../agent/ports.ts';
import { Account } from '../../agent/told/account.ts';
import type { Clock } from '../../common/clock.ts';
import type { Drift } from '../../common/drift.ts';
import type { Statement } from '../../common/kinds.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { quietLogger } from '../quiet-logger.ts';

/** A folder that goes when the test file ends. */
export function tempFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sgw-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The machine's clocks, with a wall clock that can be set. */
export function settableClock(): Clock & { stepMs: number; waitedMs: number } {
  return {
    stepMs: 0,
    waitedMs: 0,
    now() {
      return Date.now() + this.stepMs;
    },
    monotonicMs() {
      return performance.now() + this.waitedMs;
    },
  };
}

/** A git repository of its own whose only file is the manifest. */
export function manifestRepository(dir: string) {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', dir, '-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      encoding: 'utf8',
    }).trim();
  git('init', '-q', '-b', 'main');
  return {
    dir,
    git,
    /** Commits the text as the manifest; resolves to the commit id. */
    commit: (text: string, file = 'bloodline_manifest.yaml'): string => {
      writeFileSync(join(dir, file), text);
      git('add', '-A');
      git('commit', '-q', '--allow-empty', '-m', 'change');
      return git('rev-parse', 'HEAD');
    },
  };
}

/** What a reader of the node's entries knows. */
export interface Folded {
  readonly containers: ReadonlyMap<string, ObservedContainer>;
  readonly drifts: ReadonlyMap<string, Drift>;
  /** What was said although it was known already, or ended although it did not stand. */
  readonly repeated: readonly string[];
}

/** Folds statements as the ledger's projections do. */
export function fold(said: readonly Statement[]): Folded {
  let containers = new Map<string, ObservedContainer>();
  let drifts = new Map<string, Drift>();
  const repeated: string[] = [];
  const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  for (const { kind, body } of said) {
    if (kind === 'observed') {
      if (body.baseline) [containers, drifts] = [new Map(), new Map()];
      for (const id of body.removed) if (!containers.delete(id)) repeated.push(`removed ${id}`);
      for (const container of body.upserted) {
        if (isSame(containers.get(container.id), container)) repeated.push(`upserted ${container.name}`);
        containers.set(container.id, container);
      }
    } else if (kind === 'drift.opened' || kind === 'drift.changed') {
      const before = drifts.get(body.drift.id);
      if ((before === undefined) !== (kind === 'drift.opened') || isSame(before, body.drift)) {
        repeated.push(`${kind} ${body.drift.id}`);
      }
      drifts.set(body.drift.id, body.drift);
    } else if (kind === 'drift.resolved' && !drifts.delete(body.id)) repeated.push(`resolved ${body.id}`);
  }
  return { containers, drifts, repeated };
}

export interface WatchingOptions extends Partial<AgentOptions> {
  readonly socketPath: string;
  readonly journal: Journal;
  readonly repository?: string;
  readonly engineTimeoutMs?: number;
}

/** An agent over a real adapter, with an account of its own over the journal, as one run of the program has it. */
export function agentOver({ socketPath, journal, repository, engineTimeoutMs = 1_000, ...rest }: WatchingOptions) {
  const account = new Account(journal);
  const desired =
    repository === undefined
      ? undefined
      : new DesiredSource({
          node: 'node1',
          repository: gitRepository(repository),
          dataDir: mkdtempSync(join(tempFolder(), 'data-')),
          clock: settableClock(),
          journal: account,
          logger: quietLogger,
        });
  const agent = new Agent({
    node: 'node1',
    about: { version: '0', runtime: 'node', hostname: 'test' },
    engine: dockerEngine({ socketPath, timeoutMs: engineTimeoutMs }),
    desired,
    stores: [],
    clock: settableClock(),
    random: Math.random,
    logger: quietLogger,
    scanIntervalMs: 1_000,
    clockOffsetMs: () => 0,
    ...rest,
    journal: account,
  });
  return {
    agent,
    account,
    /** What the wiring does when the outbox was replaced. */
    replaced: () => {
      account.forget();
      agent.retell();
    },
  };
}
