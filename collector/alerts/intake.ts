import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type AlertItem, isAtLeast } from './alert.ts';
import type { AlertDesk, AlertStore, KnownChannel, NewNotification } from './ports.ts';
import { type Alert, hear, itemOf, wordOf } from './standing.ts';

export interface IntakeOptions {
  readonly store: AlertStore;
  readonly logger: Logger;
  readonly groupMs: number;
  readonly repeatMs: number;
}

/** From the entries of the ledger to what each channel is to be told. Every step is one transaction, so a crash between two loses nothing. */
export interface Intake {
  /** Reads a few entries on. @returns whether there may be more. */
  read(): Promise<boolean>;
  /**
   * Notes which channels are in use here. One that is new, or was away for long, is told what stands; call when {@link read} is at the
   * end, or it is told the past as well.
   */
  welcome(channels: readonly KnownChannel[]): Promise<void>;
  /** Tells these channels again what still stands. */
  repeat(channels: readonly KnownChannel[]): Promise<void>;
  tidy(): Promise<void>;
}

export function createIntake({ store, logger, groupMs, repeatMs }: IntakeOptions): Intake {
  const forgottenBefore = (nowMs: number): number => nowMs - limits.alertChannelForgottenMs;

  async function readAt(desk: AlertDesk, nowMs: number): Promise<boolean> {
    const entries = await desk.nextEntries(limits.maxAlertEntriesRead);
    const last = entries.at(-1);
    if (last === undefined) return false;
    const channels = await desk.channels(forgottenBefore(nowMs));
    for (const { index, logged } of entries) {
      // Read so late that retention was faster: the entry proves that something was said, and nobody knows what.
      if (logged === undefined) logger.warn('alert.erased', { index });
      else await take(desk, logged, { channels, nowMs });
    }
    await desk.advance(last.index + 1);
    return entries.length === limits.maxAlertEntriesRead;
  }

  async function take(
    desk: AlertDesk,
    logged: Parameters<typeof wordOf>[0],
    { channels, nowMs }: { channels: readonly KnownChannel[]; nowMs: number },
  ): Promise<void> {
    const word = wordOf(logged);
    const heard = word === undefined ? undefined : hear(await desk.alert(word.id), word);
    if (heard === undefined) return;
    const { alert, item } = heard;
    await desk.keep(alert);
    if (item === undefined) return;
    if (item.change === 'resolved') await desk.dropRepeats(alert.id);
    const told = channels.filter(({ level }) => isAtLeast(alert.worst, level));
    await desk.enqueue(
      told.map(({ name }) => notification(name, alert, item, nowMs + groupMs)),
      nowMs,
    );
  }

  async function welcomeAt(desk: AlertDesk, channel: KnownChannel, nowMs: number): Promise<void> {
    if (!(await desk.welcome(channel, nowMs, forgottenBefore(nowMs)))) return;
    const standing = (await desk.standing()).filter(({ worst }) => isAtLeast(worst, channel.level));
    await desk.enqueue(
      standing.map((alert) => notification(channel.name, alert, itemOf(alert, 'raised'), nowMs + groupMs)),
      nowMs,
    );
  }

  async function repeatAt(desk: AlertDesk, channel: KnownChannel, nowMs: number): Promise<void> {
    const due = await desk.dueForRepeat(channel, nowMs - repeatMs);
    const again = due.filter(({ worst }) => isAtLeast(worst, channel.level));
    await desk.enqueue(
      again.map((alert) => notification(channel.name, alert, itemOf(alert, 'repeated'), nowMs)),
      nowMs,
    );
  }

  const forEach = async (
    channels: readonly KnownChannel[],
    work: (desk: AlertDesk, channel: KnownChannel, nowMs: number) => Promise<void>,
  ): Promise<void> => {
    if (channels.length === 0) return;
    const nowMs = await store.now();
    await store.atDesk(async (desk) => {
      for (const channel of channels) await work(desk, channel, nowMs);
    });
  };

  return {
    read: async () => {
      if (!(await store.outlook()).unread) return false;
      const nowMs = await store.now();
      return store.atDesk((desk) => readAt(desk, nowMs));
    },
    welcome: (channels) => forEach(channels, welcomeAt),
    repeat: async (channels) => {
      if ((await store.outlook()).standing) await forEach(channels, repeatAt);
    },
    tidy: async () => store.tidy((await store.now()) - limits.alertHistoryMs),
  };
}

function notification(channel: string, { id }: Alert, item: AlertItem, dueAtMs: number): NewNotification {
  return { channel, alert: id, item, dueAtMs };
}
