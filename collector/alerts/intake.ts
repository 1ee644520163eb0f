import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { AlertItem } from './alert.ts';
import { type HoldSources, holdOf } from './holds.ts';
import { type Freeze, inhibitorsAmong } from './inhibition.ts';
import type { AlertDesk, AlertStore, KnownChannel, NewNotification } from './ports.ts';
import { type Alert, type AlertSilence, type AlertWord, hear, itemOf, wordOf } from './standing.ts';
import { isToldAgain, newsFor, toldBefore } from './telling.ts';

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
  /**
   * Tells these channels what stands and was held back until now, what nobody has acknowledged in time, and again what still stands; call
   * when {@link read} is at the end, or they are told what is over as well.
   */
  catchUp(channels: readonly KnownChannel[]): Promise<void>;
  tidy(): Promise<void>;
}

export function createIntake({ store, logger, groupMs, repeatMs }: IntakeOptions): Intake {
  const forgottenBefore = (nowMs: number): number => nowMs - limits.alertChannelForgottenMs;

  async function readAt(desk: AlertDesk, nowMs: number): Promise<boolean> {
    const entries = await desk.nextEntries(limits.maxAlertEntriesRead);
    const last = entries.at(-1);
    if (last === undefined) return false;
    const channels = await desk.channels(forgottenBefore(nowMs));
    const silences = await desk.silences(nowMs);
    const known = { standing: await readStanding(desk), freezes: await desk.freezes() };
    const reading: Reading = { desk, channels, ...known, silences, nowMs };
    for (const { index, logged } of entries) {
      // Read so late that retention was faster: the entry proves that something was said, and nobody knows what.
      if (logged === undefined) logger.warn('alert.erased', { index });
      else await take(reading, logged);
    }
    await holdBack(reading);
    await desk.advance(last.index + 1);
    return entries.length === limits.maxAlertEntriesRead;
  }

  async function take(reading: Reading, logged: Parameters<typeof wordOf>[0]): Promise<void> {
    const { desk } = reading;
    const word = wordOf(logged);
    if (word === undefined) return;
    switch (word.says) {
      case 'silenced':
        await desk.keepSilence(word.silence);
        break;
      case 'unsilenced':
        await desk.endSilence(word.id);
        break;
      default:
        return takeAlert(reading, word);
    }
    reading.silences = await desk.silences(reading.nowMs);
  }

  async function takeAlert(reading: Reading, word: AlertWord): Promise<void> {
    const { desk, channels, standing, nowMs } = reading;
    const alert = hear(await desk.alert(word.id), word, nowMs);
    if (alert === undefined) return;
    await desk.keep(alert);
    if (alert.resolvedIndex === null) standing.set(alert.id, alert);
    else standing.delete(alert.id);
    if (word.says !== 'raised') await desk.dropRepeats(alert.id);
    const told = await desk.toldOf(alert.id);
    const isHeld = holdOf(alert, sourcesOf(reading)) !== undefined;
    const news = channels.flatMap((channel) => {
      const item = newsFor(channel, alert, told.get(channel.name), { isHeld, nowMs });
      return item === undefined ? [] : [notification(channel.name, alert, item, nowMs + groupMs)];
    });
    await desk.enqueue(news, nowMs);
    if (alert.resolvedIndex !== null) await desk.forgetAlert(alert.id);
  }

  /** What was queued a moment ago, and is held back now. A message that somebody tried to send may have arrived: its end is told. */
  async function holdBack(reading: Reading): Promise<void> {
    const { desk, standing } = reading;
    const sources = sourcesOf(reading);
    const held = [...standing.values()].filter((alert) => holdOf(alert, sources) !== undefined);
    if (held.length > 0) await desk.takeBack(held.map(({ id }) => id));
  }

  /** Tells a channel what it was not told yet: since it is new, something was held back, or nobody has acknowledged it. */
  async function catchUp(desk: AlertDesk, channel: KnownChannel, nowMs: number): Promise<void> {
    const standing = await readStanding(desk);
    const held = { silences: await desk.silences(nowMs), freezes: await desk.freezes() };
    const sources = sourcesOf({ standing, ...held, nowMs });
    const told = await desk.toldTo(channel.name);
    const news = [...standing.values()].flatMap((alert) => {
      const isHeld = holdOf(alert, sources) !== undefined;
      const item = newsFor(channel, alert, told.get(alert.id), { isHeld, nowMs });
      return item === undefined ? [] : [notification(channel.name, alert, item, nowMs + groupMs)];
    });
    await desk.enqueue(news, nowMs);
    const due = (await desk.dueForRepeat(channel, nowMs - repeatMs)).filter((alert) =>
      isToldAgain(channel, alert, told.get(alert.id), holdOf(alert, sources) !== undefined),
    );
    await desk.enqueue(
      due.map((alert) => {
        const item = toldBefore(itemOf(alert, 'repeated'), told.get(alert.id));
        return notification(channel.name, alert, item, nowMs);
      }),
      nowMs,
    );
  }

  async function welcomeAt(desk: AlertDesk, channel: KnownChannel, nowMs: number): Promise<void> {
    if (!(await desk.welcome(channel, nowMs, forgottenBefore(nowMs)))) return;
    await desk.forgetChannel(channel.name);
    await catchUp(desk, channel, nowMs);
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
    catchUp: async (channels) => {
      if ((await store.outlook()).standing) await forEach(channels, catchUp);
    },
    tidy: async () => {
      const nowMs = await store.now();
      await store.tidy({ beforeMs: nowMs - limits.alertHistoryMs, nowMs });
    },
  };
}

/** What a run of entries is read with. */
interface Reading {
  readonly desk: AlertDesk;
  readonly channels: readonly KnownChannel[];
  /** By id. These two change with the entries. */
  readonly standing: Map<string, Alert>;
  silences: readonly AlertSilence[];
  readonly freezes: readonly Freeze[];
  readonly nowMs: number;
}

async function readStanding(desk: AlertDesk): Promise<Map<string, Alert>> {
  return new Map((await desk.standing()).map((alert) => [alert.id, alert]));
}

type Holding = Pick<Reading, 'standing' | 'silences' | 'freezes' | 'nowMs'>;

function sourcesOf({ standing, silences, freezes, nowMs }: Holding): HoldSources {
  return { silences, inhibitors: inhibitorsAmong(standing.values(), freezes), nowMs };
}

function notification(channel: string, { id }: Alert, item: AlertItem, dueAtMs: number): NewNotification {
  return { channel, alert: id, item, dueAtMs };
}
