import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { storedBytes } from '../../../agent/outbox/layout.ts';
import { type Outbox, openOutbox } from '../../../agent/outbox/outbox.ts';
import type { Statement } from '../../../common/kinds.ts';
import { auditedEntries, cleared, failsWith, options, removeAll, report, tempDir } from './support.ts';

/** What the outbox must look like, kept in memory. Sizes are taken from the entries themselves, decisions are not. */
interface Model {
  queued: { text: string; bytes: number }[];
  acked: number;
  bytes: number;
  checkpoint: string | undefined;
  state: Map<string, number>;
  dropped: Map<string, number>;
  refused: Set<string>;
}

interface Real {
  readonly parent: string;
  outbox: Outbox;
}

type Step = fc.AsyncCommand<Model, Real>;
const bounds = { maxBytes: 6_000, reservedShare: 0.25, reserveFileBytes: 4_096 };
const ordinaryBytes = 4_500;

const textOf = (statement: Statement): string => JSON.stringify([statement.kind, statement.body]);
const total = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0);

function count(model: Model, kind: string, by: number): void {
  const now = (model.dropped.get(kind) ?? 0) + by;
  if (now === 0) model.dropped.delete(kind);
  else model.dropped.set(kind, now);
}

class Append implements Step {
  readonly statements: readonly Statement[];
  readonly key: string;
  readonly value: number;

  constructor(statements: readonly Statement[], key: string, value: number) {
    this.statements = statements;
    this.key = key;
    this.value = value;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const periodic = this.statements.every(({ kind }) => kind === 'report');
    const before = real.outbox.head.seq;
    const outcome = await real.outbox
      .append(this.statements, [{ key: this.key, value: this.value }])
      .catch((error: unknown) => error);
    if (!Array.isArray(outcome)) {
      assert.ok(!periodic && failsWith('outbox.full', true)(outcome));
      this.refuse(model);
    } else if (outcome.length === 0) {
      assert.ok(periodic);
      for (const { kind } of this.statements) count(model, kind, 1);
    } else {
      assert.equal(outcome.length, this.statements.length);
      await this.accept(model, real, before);
    }
    await compare(model, real);
  }

  private refuse(model: Model): void {
    for (const statement of this.statements) {
      if (model.refused.has(textOf(statement))) continue;
      model.refused.add(textOf(statement));
      count(model, statement.kind, 1);
    }
  }

  private async accept(model: Model, { outbox }: Real, before: number): Promise<void> {
    for (const statement of this.statements) {
      if (model.refused.delete(textOf(statement))) count(model, statement.kind, -1);
    }
    const added = await outbox.read(before, { maxEntries: 100, maxBytes: 1_000_000 });
    const expected = this.statements.map(textOf);
    for (const { entry, bytes } of added) {
      const size = storedBytes(bytes.length);
      model.queued.push({ text: JSON.stringify([entry.kind, entry.body]), bytes: size });
      model.bytes += size;
      if (entry.kind !== 'outbox.dropped') continue;
      assert.equal(entry.body.count, total(model.dropped));
      assert.deepEqual(new Map(Object.entries(entry.body.kinds)), model.dropped);
      model.dropped.clear();
      model.refused.clear();
      expected.unshift(JSON.stringify([entry.kind, entry.body]));
    }
    assert.deepEqual(
      model.queued.slice(-added.length).map(({ text }) => JSON.parse(text)),
      expected.map((text) => JSON.parse(text)),
    );
    const periodic = this.statements.every(({ kind }) => kind === 'report');
    assert.ok(model.bytes <= (periodic ? ordinaryBytes : bounds.maxBytes));
    model.state.set(this.key, this.value);
  }

  toString(): string {
    return `append(${this.statements.map(({ kind }) => kind)}, ${this.key}=${this.value})`;
  }
}

class Trim implements Step {
  readonly share: number;

  constructor(share: number) {
    this.share = share;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const gone = model.queued.splice(0, Math.round(model.queued.length * this.share));
    model.acked += gone.length;
    for (const { bytes } of gone) model.bytes -= bytes;
    model.checkpoint = `note ${model.acked}`;
    await real.outbox.trim(model.acked, model.checkpoint);
    await compare(model, real);
  }

  toString(): string {
    return `trim(${this.share})`;
  }
}

class Reopen implements Step {
  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    await real.outbox.close();
    real.outbox = await openOutbox(options(real.parent, bounds));
    assert.equal(real.outbox.recovery, undefined);
    await compare(model, real);
  }

  toString(): string {
    return 'reopen()';
  }
}

async function compare(model: Model, { outbox }: Real): Promise<void> {
  assert.equal(outbox.acked.seq, model.acked);
  assert.equal(outbox.depth, model.queued.length);
  assert.equal(outbox.bytes, model.bytes);
  assert.equal(outbox.checkpoint(), model.checkpoint);
  assert.equal(outbox.drops?.count ?? 0, total(model.dropped));
  assert.deepEqual(await outbox.state(), new Map([...model.state].sort()));
  const entries = await auditedEntries(outbox);
  assert.deepEqual(
    entries.map(({ entry }) => JSON.parse(JSON.stringify([entry.kind, entry.body]))),
    model.queued.map(({ text }) => JSON.parse(text)),
  );
}

const statement = fc.oneof(
  fc.nat(5).map(report),
  fc.tuple(fc.nat(5), fc.constantFrom(10, 400)).map(([id, size]) => cleared(id, 'x'.repeat(size))),
);
const append = fc
  .tuple(fc.array(statement, { minLength: 1, maxLength: 3 }), fc.constantFrom('a', 'b'), fc.nat(99))
  .filter(([statements]) => new Set(statements.map(textOf)).size === statements.length)
  .map(([statements, key, value]) => new Append(statements, key, value));
const steps = fc.commands(
  [append, append, append, fc.constantFrom(0.2, 0.5, 1).map((share) => new Trim(share)), fc.constant(new Reopen())],
  { maxCommands: 40, size: 'max' },
);

test('any run of appends, trims, overflows and reopens ends where a simple model does', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (commands) => {
      const parent = tempDir();
      const real: Real = { parent, outbox: await openOutbox(options(parent, bounds)) };
      await real.outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
      const model: Model = {
        queued: [],
        acked: 0,
        bytes: 0,
        checkpoint: undefined,
        state: new Map(),
        dropped: new Map(),
        refused: new Set(),
      };
      try {
        await fc.asyncModelRun(() => ({ model, real }), commands);
      } finally {
        await real.outbox.close();
        await removeAll(parent);
      }
    }),
    { numRuns: 40 },
  );
});
