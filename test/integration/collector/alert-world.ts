import { randomBytes } from 'node:crypto';
import { after, before, beforeEach } from 'node:test';
import type { AlertChannel, AlertNotice, Severity } from '../../../collector/alerts/alert.ts';
import { type Courier, createCourier } from '../../../collector/alerts/courier.ts';
import { createIntake, type Intake } from '../../../collector/alerts/intake.ts';
import type { AlertMetrics, AlertStore, DeliveryStore } from '../../../collector/alerts/ports.ts';
import { type BreakerStore, createBreakers } from '../../../collector/jobs/breakers.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresDeliveryStore } from '../../../collector/postgres/alert-delivery-store.ts';
import { postgresAlertStore } from '../../../collector/postgres/alert-store.ts';
import { postgresBreakerStore } from '../../../collector/postgres/breaker-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { AppError } from '../../../common/errors.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** Later ones share a message within this time. */
export const groupMs = 10_000;
export const repeatMs = 4 * 3_600_000;
export const maxAttempts = 8;
export const startMs = Date.parse('2026-03-01T10:00:00.000Z');
export const going = new AbortController().signal;

/** A channel of the test's own, which does what `answer` says with each message. */
export interface TestChannel extends AlertChannel {
  readonly notices: AlertNotice[];
  answer: (notice: AlertNotice) => Promise<void>;
}

export function channelOf(
  name: string,
  level: Severity = 'info',
  maxItems = 10,
  escalateAfterMs: number | null = null,
): TestChannel {
  const channel: TestChannel = {
    ...{ name, level, maxItems, escalateAfterMs, notices: [], close: async () => {} },
    answer: async () => {},
    preview: (notice) => notice,
    send: async (notice) => {
      await channel.answer(notice);
      channel.notices.push(notice);
      return { status: '250', text: '' };
    },
  };
  return channel;
}

export const told = ({ notices }: TestChannel): string[][] =>
  notices.map(({ items }) => items.map(({ change, key }) => `${change} ${key}`));

export const unreachable = new AppError('channel.unreachable', 'no answer', { retryable: true });
export const refused = new AppError('channel.refused', 'no');

const metrics: AlertMetrics = { sent: () => {}, failed: () => {}, died: () => {}, ruleFailed: () => {} };

/** A ledger and its alerts on a database of its own, at a time that the test says. */
export class AlertWorld {
  readonly db: Db;
  readonly ledger: Ledger;
  readonly intake: Intake;
  nowMs = startMs;

  private constructor(db: Db, ledger: Ledger) {
    this.db = db;
    this.ledger = ledger;
    this.intake = this.intakeOver(this.alertStore());
  }

  static async begin(postgres: TestPostgres): Promise<AlertWorld> {
    const db = postgres.pool(await postgres.migratedDatabase());
    return new AlertWorld(db, await startLedger(postgresLedgerStore(db)));
  }

  alertStore(): AlertStore {
    return { ...postgresAlertStore(this.db), now: async () => this.nowMs };
  }

  deliveryStore(): DeliveryStore {
    return { ...postgresDeliveryStore(this.db), now: async () => this.nowMs };
  }

  breakerStore(): BreakerStore {
    return { ...postgresBreakerStore(this.db), now: async () => this.nowMs };
  }

  intakeOver(store: AlertStore): Intake {
    return createIntake({ store, logger: quietLogger, groupMs, repeatMs });
  }

  raise(key: string, severity: Severity = 'error', summary = key) {
    return this.ledger.record({ kind: 'alert.raised', body: { key, severity, summary, node: null } });
  }

  resolve(key: string) {
    return this.ledger.record({ kind: 'alert.resolved', body: { key, reason: 'over' } });
  }

  /** Until so long from now, by the time of the test. */
  async silence(pattern: string, forMs: number, id = randomBytes(32).toString('hex')): Promise<string> {
    const until = rfc3339(this.nowMs + forMs);
    const body = { id, pattern, until, actor: 'operator', reason: 'works' };
    await this.ledger.record({ kind: 'alert.silenced', body });
    return id;
  }

  unsilence(id: string) {
    return this.ledger.record({ kind: 'alert.unsilenced', body: { id, actor: 'operator', reason: 'done' } });
  }

  acknowledge(key: string) {
    return this.ledger.record({ kind: 'alert.acknowledged', body: { key, actor: 'operator', reason: 'on it' } });
  }

  courierOf(channel: AlertChannel, store = this.deliveryStore()): Courier {
    const breakers = createBreakers({ store: this.breakerStore() });
    const others = { breakers, metrics, logger: quietLogger, origin: 'test', maxAttempts, random: () => 1 };
    return createCourier({ channel, store, ...others });
  }

  async readAll(): Promise<void> {
    while (await this.intake.read());
  }

  /** Reads on, and delivers also what was held back, is due for escalation, or is to be told again. */
  async tellAll(...channels: TestChannel[]): Promise<void> {
    await this.readAll();
    await this.intake.catchUp(channels);
    this.nowMs += groupMs;
    for (const channel of channels) await drain(this.courierOf(channel));
  }

  /** Reads on, lets the grouping window pass, and delivers. */
  async deliver(channel: TestChannel): Promise<void> {
    await this.readAll();
    this.nowMs += groupMs;
    await drain(this.courierOf(channel));
  }
}

export async function drain(courier: Courier): Promise<void> {
  while (await courier.step(going));
}

/** Gives each test of the file a world of its own, by `begun`, before it begins. */
export function inAlertWorlds(begun: (world: AlertWorld) => void | Promise<void>): void {
  let postgres: TestPostgres;
  before(async () => {
    postgres = await startPostgres();
  });
  after(() => postgres.stop());
  beforeEach(async () => begun(await AlertWorld.begin(postgres)));
}
