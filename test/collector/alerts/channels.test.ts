import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { type AlertChannel, type AlertItem, testNotice } from '../../../collector/alerts/alert.ts';
import { openChannels } from '../../../collector/alerts/open-channels.ts';
import { alertSettings } from '../../../collector/alerts/settings.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { type AlertReceivers, receiverPaths, startAlertReceivers } from '../../fakes/alert-receivers.ts';
import { selfSigned, type TestCertificate } from '../../fakes/certificate.ts';
import { type SmtpOptions, type SmtpServer, startSmtpServer } from '../../fakes/smtp-server.ts';
import { hostileTexts, itemWith, noticeOf, resolvedItem } from './notices.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const certificate = selfSigned();
const login = { user: 'ops', password: 'a word' };

async function receivers(tls?: TestCertificate): Promise<AlertReceivers> {
  const started = await startAlertReceivers(tls);
  cleanups.push(started.close);
  return started;
}

async function smtpServer(options: Partial<SmtpOptions> = {}): Promise<SmtpServer> {
  const started = await startSmtpServer({ ...certificate, ...login, ...options });
  cleanups.push(started.close);
  return started;
}

interface World {
  readonly http: AlertReceivers;
  readonly smtp: SmtpServer;
}

async function channelsIn({ http, smtp }: World, ca: string | null = certificate.cert, email: object = {}) {
  const settings = alertSettings.parse({
    rules: {},
    ...(ca === null ? {} : { caFile: 'ca.pem' }),
    slack: { webhookUrl: `${http.url}${receiverPaths.slack}` },
    discord: { webhookUrl: `${http.url}${receiverPaths.discord}` },
    pagerduty: { routingKey: http.routingKey, url: `${http.url}${receiverPaths.pagerduty}` },
    webhook: { url: `${http.url}${receiverPaths.webhook}`, secret: http.webhookSecret },
    alertmanager: { url: `${http.url}/am` },
    email: {
      ...{ host: 'localhost', port: smtp.port, ...login },
      ...{ from: 'Sigilwatch <watch@example.org>', to: ['a@example.org', 'b@example.org'], ...email },
    },
  });
  const channels = await openChannels(settings, async () => ca ?? '');
  for (const channel of channels) cleanups.push(channel.close);
  return (name: string): AlertChannel => {
    const found = channels.find((channel) => channel.name === name);
    assert.ok(found, name);
    return found;
  };
}

async function world(): Promise<World> {
  return { http: await receivers(), smtp: await smtpServer() };
}

const channelNames = ['slack', 'discord', 'pagerduty', 'webhook', 'alertmanager', 'email'];

/** As many alerts at once as the channel takes, each with something hostile wherever text can stand. */
function hostileItems(maxItems: number): AlertItem[][] {
  const items = hostileTexts.flatMap((text) => [
    itemWith({ key: `${text}/x`, summary: text, severity: 'critical' }),
    itemWith({ key: `x/${text}`, summary: text, change: 'repeated' }),
    resolvedItem({ summary: text, reason: text }),
  ]);
  const groups: AlertItem[][] = [];
  for (let i = 0; i < items.length; i += maxItems) groups.push(items.slice(i, i + maxItems));
  return [...groups, ...hostileTexts.map((summary) => Array.from({ length: maxItems }, () => itemWith({ summary })))];
}

for (const name of channelNames) {
  describe(`channel ${name}`, () => {
    test('what is raised, repeated and resolved is taken by a receiver that keeps to the documentation', async () => {
      const channel = (await channelsIn(await world()))(name);
      for (const severity of ['info', 'warning', 'error', 'critical'] as const) {
        const answer = await channel.send(noticeOf([itemWith({ severity })]));
        assert.match(answer.status, /^(HTTP 20[024]|250)$/);
      }
      await channel.send(noticeOf([itemWith({ change: 'repeated' })]));
      await channel.send(noticeOf([resolvedItem({ node: null })]));
      await channel.send(testNotice({ id: 'id', nowMs: Date.now(), origin: 'example.org/ledger' }));
    });

    test('nothing that a name or a summary holds breaks the format, or is too long', async () => {
      const { http, smtp } = await world();
      const channel = (await channelsIn({ http, smtp }))(name);
      const runbookUrl = `https://wiki.example.org/${'r'.repeat(limits.maxRunbookUrlChars - 25)}`;
      for (const items of hostileItems(channel.maxItems)) {
        await channel.send(noticeOf(items));
        await channel.send(noticeOf(items, { runbookUrl }));
      }
      assert.deepEqual(smtp.refusals, []);
      assert.deepEqual(
        http.received.filter(({ status }) => status >= 300),
        [],
      );
    });
  });
}

describe('what is told', () => {
  test('Slack gets plain text, and the severity in the header', async () => {
    const { http, smtp } = await world();
    await (await channelsIn({ http, smtp }))('slack').send(noticeOf([itemWith({ summary: '<!channel> & *x*' })]));
    const [message] = http.taken(receiverPaths.slack);
    const text = JSON.stringify(message);
    assert.match(text, /ERROR: enforcement\.daily_limit on node1/);
    assert.match(text, /&lt;!channel&gt; &amp; \*x\*/);
    assert.ok(!text.includes('mrkdwn"'.concat(':true')));
  });

  test('Discord is told to call nobody', async () => {
    const { http, smtp } = await world();
    await (await channelsIn({ http, smtp }))('discord').send(noticeOf([itemWith({ summary: '@everyone look' })]));
    const [message] = http.taken(receiverPaths.discord);
    assert.deepEqual(Object(message).allowed_mentions, { parse: [] });
    assert.equal(Object(message).embeds[0].description, '\\@everyone look');
  });

  test('PagerDuty gets one incident for a key, ended by its resolution; a test leaves none behind', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('pagerduty');
    await channel.send(noticeOf([itemWith()]));
    await channel.send(noticeOf([itemWith({ change: 'repeated' })]));
    await channel.send(noticeOf([resolvedItem()]));
    await channel.send(testNotice({ id: 'id', nowMs: Date.now(), origin: 'example.org/ledger' }));
    const told = http
      .taken(receiverPaths.pagerduty)
      .map((event) => [Object(event).event_action, Object(event).dedup_key]);
    const key = 'example.org/ledger/enforcement.daily_limit/node1';
    const ofTest = 'example.org/ledger/test/id';
    assert.deepEqual(told, [
      ['trigger', key],
      ['trigger', key],
      ['resolve', key],
      ['trigger', ofTest],
      ['resolve', ofTest],
    ]);
  });

  test('PagerDuty tells long keys apart that begin alike', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('pagerduty');
    for (const end of ['a', 'b']) await channel.send(noticeOf([itemWith({ key: `${'x'.repeat(1_990)}${end}` })]));
    const keys = http.taken(receiverPaths.pagerduty).map((event) => Object(event).dedup_key);
    assert.equal(new Set(keys).size, 2);
  });

  test('Alertmanager gets the same labels for the end as for the beginning', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('alertmanager');
    await channel.send(noticeOf([itemWith()]));
    await channel.send(noticeOf([resolvedItem()]));
    const [[raised], [resolved]] = http.taken(receiverPaths.alertmanager).map((alerts) => Object(alerts));
    assert.deepEqual(raised.labels, resolved.labels);
    assert.ok(Date.parse(raised.endsAt) > Date.now());
    assert.equal(resolved.endsAt, '2026-03-01T10:00:30.000Z');
  });

  test('Alertmanager does not keep an alert that got worse under its old severity', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('alertmanager');
    const sentAtMs = Date.now();
    const worse = itemWith({ severity: 'critical', previousSeverity: 'error' });
    await channel.send(noticeOf([worse], { sentAtMs }));
    const [[old, now]] = http.taken(receiverPaths.alertmanager).map((alerts) => Object(alerts));
    assert.deepEqual([old.labels.severity, Date.parse(old.endsAt)], ['error', sentAtMs]);
    assert.deepEqual([now.labels.severity, Date.parse(now.endsAt) > sentAtMs], ['critical', true]);
  });

  test('a webhook that does not know the key refuses', async () => {
    const { http, smtp } = await world();
    const other = { ...http, webhookSecret: 'another secret of ours' };
    const channel = (await channelsIn({ http: other, smtp }))('webhook');
    await assert.rejects(channel.send(noticeOf([itemWith()])), codeIs('channel.refused'));
  });

  test('mail goes to all recipients, and no text of an alert becomes a header or a line of ours', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('email');
    const [, , injection = ''] = hostileTexts;
    await channel.send(noticeOf([itemWith({ summary: injection, key: `${injection}/x` })]));
    const [mail] = smtp.mails;
    assert.ok(mail);
    assert.deepEqual([mail.from, mail.to], ['watch@example.org', ['a@example.org', 'b@example.org']]);
    assert.equal(mail.headers.get('bcc'), undefined);
    assert.equal(mail.headers.get('message-id'), '<a1b2c3@sigilwatch.invalid>');
    assert.ok(!/^(Bcc|MAIL)/m.test(mail.text));
  });

  test('a test says that it is one, wherever it goes', async () => {
    const { http, smtp } = await world();
    const channels = await channelsIn({ http, smtp });
    const notice = testNotice({ id: 'id', nowMs: Date.now(), origin: 'example.org/ledger' });
    for (const name of channelNames) await channels(name).send(notice);
    const raised = http.received.filter(({ body }) => !body.includes('"resolve"'));
    assert.deepEqual(
      raised.map(({ body }) => /test/i.test(body)),
      raised.map(() => true),
    );
    assert.match(smtp.mails[0]?.headers.get('subject') ?? '', /TEST/);
  });
});

const codeIs = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

describe('the runbook', () => {
  const place = 'docs/runbook/enforcement.daily_limit.md';
  const url = 'https://wiki.example.org/runbook/enforcement.daily_limit.md';
  const title = 'The daily limit holds up answers';

  /** The one message of each channel, as it left. */
  async function sent(runbookUrl: string | undefined): Promise<Readonly<Record<string, string>>> {
    const { http, smtp } = await world();
    const channels = await channelsIn({ http, smtp });
    for (const name of channelNames) await channels(name).send(noticeOf([itemWith()], { runbookUrl }));
    const bodies = Object.entries(receiverPaths).map(([name, path]) => [name, JSON.stringify(http.taken(path)[0])]);
    return Object.fromEntries([...bodies, ['email', smtp.mails[0]?.text]]);
  }

  test('every message links the page of its alert, where the settings say under which URL the pages are', async () => {
    const messages = await sent('https://wiki.example.org/runbook/');
    assert.match(messages.slack ?? '', new RegExp(`"<${url}\\|Runbook: ${title}>"`));
    assert.match(messages.discord ?? '', new RegExp(`"url":"${url}"`));
    assert.match(
      messages.pagerduty ?? '',
      new RegExp(`"links":\\[\\{"href":"${url}","text":"Runbook: ${title}"\\}\\]`),
    );
    assert.match(messages.webhook ?? '', new RegExp(`"runbook":"${url}"`));
    assert.match(messages.alertmanager ?? '', new RegExp(`"runbook_url":"${url}"`));
    assert.match(messages.email ?? '', new RegExp(`^ {2}runbook: ${url}$`, 'm'));
  });

  test('without that setting it names the path of the page, and makes a link of nothing', async () => {
    const messages = await sent(undefined);
    for (const name of channelNames) assert.ok(messages[name]?.includes(place), name);
    for (const name of channelNames)
      assert.doesNotMatch(messages[name] ?? '', /"links"|"url"|runbook_url|"mrkdwn",/, name);
  });

  test('an alert of no name in the list is told without a page', async () => {
    const { http, smtp } = await world();
    const channels = await channelsIn({ http, smtp });
    for (const key of ['constructor/x', 'node.silently/x', '', '/']) {
      const notice = noticeOf([itemWith({ key })], { runbookUrl: 'https://wiki.example.org' });
      for (const name of channelNames) await channels(name).send(notice);
    }
    assert.deepEqual(
      [...http.received.map(({ body }) => body), ...smtp.mails.map(({ text }) => text)].join().match(/\.md/),
      null,
    );
  });
});

describe('what can go wrong', () => {
  test('a refusal for good, one for now, and none at all are told apart', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('slack');
    const notice = noticeOf([itemWith()]);
    http.misbehaviours.push({ status: 403, body: 'action_prohibited' });
    await assert.rejects(channel.send(notice), (error: unknown) => {
      return (
        error instanceof AppError && error.code === 'channel.refused' && /403: action_prohibited/.test(error.message)
      );
    });
    http.misbehaviours.push({ status: 503 });
    await assert.rejects(channel.send(notice), codeIs('channel.unreachable'));
    http.misbehaviours.push({ status: 429, headers: { 'retry-after': '17' } });
    await assert.rejects(channel.send(notice), (error: unknown) => {
      return error instanceof AppError && error.retryable && error.details.retryAfterMs === 17_000;
    });
    await http.close();
    await assert.rejects(channel.send(notice), codeIs('channel.unreachable'));
  });

  test('a redirect is not followed, and no error names the secret URL', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('slack');
    const body = `moved: Cannot POST ${receiverPaths.slack}`;
    http.misbehaviours.push({ status: 307, headers: { location: `${http.url}/elsewhere` }, body });
    const error: unknown = await channel.send(noticeOf([itemWith()])).catch((thrown: unknown) => thrown);
    assert.ok(codeIs('channel.refused')(error));
    assert.equal(http.received.length, 1);
    await http.close();
    const gone: unknown = await channel.send(noticeOf([itemWith()])).catch((thrown: unknown) => thrown);
    for (const thrown of [error, gone])
      assert.ok(thrown instanceof Error && !thrown.message.includes('XXXX'), String(thrown));
  });

  test('an answer without end is not read to it, and counts by its status', async () => {
    const { http, smtp } = await world();
    const channel = (await channelsIn({ http, smtp }))('slack');
    http.misbehaviours.push({ status: 200, body: 'x'.repeat(10_000_000) });
    const { status, text } = await channel.send(noticeOf([itemWith()]));
    assert.deepEqual([status, text.length], ['HTTP 200', limits.maxAlertAnswerChars]);
  });

  test('a server whose certificate is not by an authority of the settings gets nothing', async () => {
    const own = { http: await receivers(certificate), smtp: await smtpServer() };
    for (const ca of [null, selfSigned('other').cert]) {
      const channels = await channelsIn(own, ca);
      for (const name of channelNames) {
        await assert.rejects(channels(name).send(noticeOf([itemWith()])), codeIs('channel.unreachable'), name);
      }
    }
    assert.deepEqual([own.http.received, own.smtp.mails], [[], []]);
    const trusted = await channelsIn(own);
    for (const name of channelNames) await trusted(name).send(noticeOf([itemWith()]));
  });

  test('mail goes out over TLS from the first byte, too', async () => {
    const own = { http: await receivers(), smtp: await smtpServer({ implicitTls: true }) };
    const channels = await channelsIn(own, certificate.cert, { security: 'tls' });
    await channels('email').send(noticeOf([itemWith()]));
    assert.equal(own.smtp.mails.length, 1);
  });

  test('a server that does not offer STARTTLS, or somebody who takes the offer out, gets neither mail nor password', async () => {
    const own = { http: await receivers(), smtp: await smtpServer({ stripsTls: true }) };
    await assert.rejects((await channelsIn(own))('email').send(noticeOf([itemWith()])), codeIs('channel.unreachable'));
    assert.deepEqual(own.smtp.mails, []);
    assert.ok(!own.smtp.refusals.some((refusal) => /auth/i.test(refusal)));
  });

  test('a mailbox that does not exist is refused for good, a full one for now; a wrong password for good', async () => {
    const http = await receivers();
    const cases = [
      [{ refusesRecipients: '550 5.1.1 no such user' }, 'channel.refused'],
      [{ refusesRecipients: '452 4.2.2 mailbox full' }, 'channel.unreachable'],
      [{ password: 'another' }, 'channel.refused'],
    ] as const;
    for (const [options, code] of cases) {
      const channels = await channelsIn({ http, smtp: await smtpServer(options) });
      await assert.rejects(channels('email').send(noticeOf([itemWith()])), codeIs(code), code);
    }
  });
});

describe('settings', () => {
  const open = (value: object) => openChannels(alertSettings.parse(parsedWith(value)), async () => 'nothing');
  const parsedWith = (value: object) => ({
    ...{ slack: {}, discord: {}, pagerduty: {}, webhook: {}, alertmanager: {}, email: {}, rules: {} },
    ...value,
  });

  test('without any there are no channels', async () => {
    assert.deepEqual(await open({}), []);
  });

  test('a channel that is set by half is a mistake, not a silence', async () => {
    const halves = [
      { webhook: { url: 'https://example.org/x' } },
      { email: { host: 'mail.example.org', from: 'a@example.org' } },
      { email: { host: 'mail.example.org', to: ['a@example.org'] } },
      { email: { host: 'mail.example.org', from: 'a@example.org', to: ['b@example.org'], user: 'me' } },
      { caFile: '/ca.pem' },
    ];
    for (const half of halves) await assert.rejects(open(half), codeIs('validation.config'), JSON.stringify(half));
  });

  test('a secret does not go over the network in the clear, and no address ends a header', () => {
    const wrong = [
      { slack: { webhookUrl: 'http://hooks.example.org/x' } },
      { webhook: { url: 'ftp://example.org' } },
      { pagerduty: { routingKey: 'short' } },
      { runbookUrl: 'wiki.example.org' },
      { runbookUrl: 'javascript://wiki.example.org/' },
      { runbookUrl: 'https://wiki.example.org/x|<!channel>' },
      { runbookUrl: 'https://wiki.example.org/?page=' },
      { email: { from: 'a@example.org\r\nBcc: x@example.org' } },
      { email: { to: ['a@example.org, b@example.org'] } },
    ];
    for (const value of wrong) assert.ok(!alertSettings.safeParse(parsedWith(value)).success, JSON.stringify(value));
    assert.ok(alertSettings.safeParse(parsedWith({ slack: { webhookUrl: 'http://127.0.0.1:1/x' } })).success);
  });
});
