import type { Transporter } from 'nodemailer';
import { rfc3339 } from '../../../common/clock.ts';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits } from '../alert.ts';
import { runbookOf } from '../catalog.ts';
import { unreachable } from '../http.ts';
import type { MessageTemplates } from '../message-templates.ts';
import { bodyOf, factsOf, fittedLines, headlineOf, oneLine, titleOf } from '../text.ts';

/*
 * E-mail by SMTP, always over TLS (RFC 8314): from the first byte, or by STARTTLS, without which nothing is said. Plain text, so no markup
 * counts; foreign text is one line wherever it stands, so it can begin neither a header nor a line that looks like ours.
 */

const maxBodyTextChars = 2_000;

export interface EmailOptions extends ChannelTraits {
  readonly host: string;
  readonly port: number;
  readonly security: 'starttls' | 'tls';
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly from: string;
  readonly to: readonly string[];
  readonly templates: MessageTemplates;
  /** PEM of the authorities that count instead of those of the system. */
  readonly ca?: string | undefined;
}

/** The message, without who sends it to whom. */
export function emailMessage(notice: AlertNotice, templates: MessageTemplates) {
  const { origin, id, isTest, sentAtMs, items } = notice;
  const lines = [
    ...(isTest ? ['This is a test. Nothing is wrong.', ''] : []),
    ...items.flatMap((item) => [...itemLines(item, notice, templates), '']),
    '--',
    `Sigilwatch, ${oneLine(origin, limits.maxForeignTextChars)}, notification ${id}`,
  ];
  // Folding would make lines of nothing but spaces out of many in a row (RFC 5322 §4.2), which servers may refuse.
  const subject = `[Sigilwatch] ${titleOf(notice, templates)}`.replace(/\s+/g, ' ').trim();
  return {
    subject: oneLine(subject, limits.maxSubjectChars),
    text: `${lines.join('\n')}\n`,
    date: rfc3339(sentAtMs),
    // RFC 3834: holiday notices need not answer. A relay that gets the same message twice knows it by its id.
    headers: { 'Auto-Submitted': 'auto-generated' },
    messageId: `<${id}@sigilwatch.invalid>`,
  };
}

function itemLines(item: AlertItem, notice: AlertNotice, templates: MessageTemplates): string[] {
  const runbook = runbookOf(item.key, notice.runbookUrl);
  const headline = oneLine(headlineOf(item, notice, templates), maxBodyTextChars);
  const body = fittedLines(bodyOf(item, notice, templates), maxBodyTextChars, (character) => character);
  return [
    // Two hyphens would begin a signature, below which many programs show nothing.
    headline.replace(/^-/, ' -'),
    ...body.split('\n').map((line) => `  ${line}`),
    `  ${factsOf(item)}`,
    `  key: ${oneLine(item.key, maxBodyTextChars)}`,
    ...(runbook === null ? [] : [`  runbook: ${runbook.place}`]),
  ];
}

export function emailChannel(options: EmailOptions): AlertChannel {
  const { name, level, escalateAfterMs, from, to, templates } = options;
  let transporter: Promise<Transporter> | undefined;
  return {
    ...{ name, level, escalateAfterMs, maxItems: limits.maxAlertsPerMessage },
    preview: (notice) => {
      const { subject, text } = emailMessage(notice, templates);
      return `Subject: ${subject}\n\n${text}`;
    },
    send: async (notice) => {
      transporter ??= createTransporter(options);
      const message = emailMessage(notice, templates);
      const mail = { ...message, from, to: [...to], disableFileAccess: true, disableUrlAccess: true };
      try {
        const { response, rejected } = await inTime((await transporter).sendMail(mail));
        const missed = rejected?.length ? ` (refused for ${rejected.map(String).join(', ')})` : '';
        const said = oneLine(`${String(response)}${missed}`, limits.maxAlertAnswerChars);
        return { status: said.slice(0, 3), text: said.slice(3).trim() };
      } catch (thrown) {
        throw failure(name, thrown);
      }
    },
    close: async () => (await transporter)?.close(),
  };
}

/** Loaded when needed: most commands send nothing. */
async function createTransporter(options: EmailOptions): Promise<Transporter> {
  const { createTransport } = await import('nodemailer');
  const { host, port, security, user, password, ca } = options;
  return createTransport({
    ...{ host, port, secure: security === 'tls', requireTLS: security === 'starttls' },
    ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
    tls: { minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) },
    dnsTimeout: limits.alertConnectTimeoutMs,
    connectionTimeout: limits.alertConnectTimeoutMs,
    greetingTimeout: limits.alertAnswerTimeoutMs,
    socketTimeout: limits.alertAnswerTimeoutMs,
    maxResponseSize: limits.maxAlertAnswerBytes,
  });
}

/** A server that says a word now and then would keep a mail under way for ever. */
async function inTime<T>(sending: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('did not answer in time')), limits.alertSendTimeoutMs);
  });
  return Promise.race([sending, late]).finally(() => clearTimeout(timer));
}

/**
 * RFC 5321 §4.2.1: 5yz is for good, 4yz for now. A refused login is for somebody to mend, so as 5yz. But whoever stands in between can
 * refuse TLS, and must not be able to end a notification by it.
 */
function failure(name: string, thrown: unknown): AppError {
  const error = unreachable(name, thrown);
  const codes = answersIn(thrown);
  const isFinal = codes.length > 0 && codes.every((code) => code >= 500) && errnoOf(thrown) !== 'ETLS';
  return isFinal ? new AppError('channel.refused', error.message, { details: { status: codes[0] } }) : error;
}

/** Of each recipient, where all were refused. */
function answersIn(thrown: unknown): readonly number[] {
  if (!(thrown instanceof Error)) return [];
  if ('rejectedErrors' in thrown && Array.isArray(thrown.rejectedErrors))
    return thrown.rejectedErrors.flatMap(answersIn);
  return 'responseCode' in thrown && typeof thrown.responseCode === 'number' ? [thrown.responseCode] : [];
}
