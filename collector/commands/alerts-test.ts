import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AppError, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type AlertChannel, testNotice } from '../alerts/alert.ts';
import { openChannels } from '../alerts/open-channels.ts';
import { samples } from '../alerts/samples.ts';
import { channelKinds } from '../alerts/settings.ts';
import { systemClock } from '../clock.ts';
import type { CollectorSettings } from '../config.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

export interface AlertsTestOptions {
  /** Shows what would be sent of some made-up alerts, and sends nothing. */
  readonly print?: boolean;
}

/** Sends one marked message, whether a collector runs or not. Exit code 1 when the channel does not take it. */
export async function alertsTest(context: CommandContext, name: string, options: AlertsTestOptions): Promise<number> {
  const { settings } = context;
  const channels = await openChannels(settings.alerts, (path) => readFile(path, 'utf8'));
  try {
    const channel = requireChannel(channels, name);
    if (options.print === true) {
      show(context, previewOf(channel, settings), formatPreview);
      return exitCodes.done;
    }
    const result = await outcomeOf(channel, settings);
    show(context, result, formatResult);
    return result.sent ? exitCodes.done : exitCodes.findings;
  } finally {
    for (const channel of channels) await channel.close();
  }
}

function previewOf(channel: AlertChannel, { alerts, ledger }: CollectorSettings) {
  const at = { nowMs: systemClock.now(), origin: ledger.origin, runbookUrl: alerts.runbookUrl };
  const messages = samples(at, channel.maxItems).map(({ of, notice }) => ({ of, message: channel.preview(notice) }));
  return { channel: channel.name, sent: false, messages };
}

function formatPreview({ channel, messages }: ReturnType<typeof previewOf>): string {
  const texts = messages.map(({ of, message }) => {
    const text = typeof message === 'string' ? message.trimEnd() : JSON.stringify(message, null, 2);
    return `== ${channel}: ${of}\n${text}\n\n`;
  });
  return `${texts.join('')}nothing was sent\n`;
}

async function outcomeOf(channel: AlertChannel, { ledger }: CollectorSettings) {
  const notice = testNotice({ id: randomUUID(), nowMs: systemClock.now(), origin: ledger.origin });
  const about = { channel: channel.name, notification: notice.id };
  try {
    return { ...about, sent: true, answer: await channel.send(notice), error: null };
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    if (!code.startsWith('channel.')) throw thrown;
    return { ...about, sent: false, answer: null, error: { error_code: code, message } };
  }
}

function formatResult({ channel, sent, answer, error }: Awaited<ReturnType<typeof outcomeOf>>): string {
  if (!sent) return `not sent: ${shownCell(error?.message ?? '')}\n`;
  return `${channel} took it: ${shownCell([answer?.status, answer?.text].filter(Boolean).join(' '))}\n`;
}

/** @throws AppError `validation.request` for no channel at all; `validation.config` for one that is not set. */
function requireChannel(channels: readonly AlertChannel[], name: string): AlertChannel {
  const found = channels.find((channel) => channel.name === name);
  if (found !== undefined) return found;
  const isKnown = channelKinds.some((known) => known === name);
  if (!isKnown) {
    const known = [...new Set([...channelKinds, ...channels.map((channel) => channel.name)])].join(', ');
    throw new AppError('validation.request', `there is no channel "${name.slice(0, 64)}"; there are ${known}`);
  }
  const set = channels.length === 0 ? 'none is' : `set are ${channels.map((channel) => channel.name).join(', ')}`;
  throw new AppError('validation.config', `the channel ${name} is not set up (alerts.${name} in the settings); ${set}`);
}
