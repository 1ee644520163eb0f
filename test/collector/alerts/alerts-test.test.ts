import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { collectorCli } from '../../collector-cli.ts';
import { type AlertReceivers, receiverPaths, startAlertReceivers } from '../../fakes/alert-receivers.ts';

let receivers: AlertReceivers;
before(async () => {
  receivers = await startAlertReceivers();
});
after(() => receivers.close());

const env = (): Record<string, string> => ({
  SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: `${receivers.url}${receiverPaths.slack}`,
  SIGILWATCH_ALERTS_PAGERDUTY_ROUTING_KEY: receivers.routingKey,
  SIGILWATCH_ALERTS_PAGERDUTY_URL: `${receivers.url}${receiverPaths.pagerduty}`,
});

test('alerts test sends one marked message and prints what the channel answered', async () => {
  const said = await collectorCli(['alerts', 'test', 'slack'], env());
  assert.deepEqual(said, { code: 0, stdout: 'slack took it: HTTP 200 ok\n', stderr: '' });
  const [message] = receivers.taken(receiverPaths.slack);
  assert.match(String(Object(message).text), /^TEST INFO: test/);
});

test('with --json the answer is for programs', async () => {
  const { code, stdout } = await collectorCli(['alerts', 'test', 'pagerduty', '--json'], env());
  const result = JSON.parse(stdout);
  assert.deepEqual([code, result.channel, result.sent, result.answer.status], [0, 'pagerduty', true, 'HTTP 202']);
});

test('a channel that refuses, or does not answer, is exit code 1 and says why', async () => {
  receivers.misbehaviours.push({ status: 404, body: 'no_team' });
  const said = await collectorCli(['alerts', 'test', 'slack'], env());
  assert.deepEqual([said.code, said.stdout], [1, 'not sent: channel slack answered HTTP 404: no_team\n']);
  const nowhere = { SIGILWATCH_ALERTS_DISCORD_WEBHOOK_URL: 'http://127.0.0.1:9/api/webhooks/1/secret' };
  const gone = await collectorCli(['alerts', 'test', 'discord', '--json'], nowhere);
  const result = JSON.parse(gone.stdout);
  assert.deepEqual([gone.code, result.sent, result.error.error_code], [1, false, 'channel.unreachable']);
  assert.ok(!gone.stdout.includes('secret'));
});

test('a channel that is not set up, or does not exist, is wrong usage and names those that are', async () => {
  const notSet = await collectorCli(['alerts', 'test', 'email'], env());
  assert.deepEqual([notSet.code, /set are slack, pagerduty/.test(notSet.stderr)], [2, true]);
  const unknown = await collectorCli(['alerts', 'test', 'pigeon'], env());
  assert.deepEqual([unknown.code, /slack, discord/.test(unknown.stderr)], [2, true]);
});

test('--print-config shows which channels there are, and none of their secrets', async () => {
  const { stdout } = await collectorCli(['--print-config'], env());
  assert.ok(!stdout.includes('XXXX') && !stdout.includes(receivers.routingKey));
  assert.match(stdout, /webhookUrl: "\*+"/);
});

test('alerts test shows the templates at work, and stays a test', async () => {
  const templates = {
    SIGILWATCH_ALERTS_TITLE_TEMPLATE: 'all is lost: {severity}',
    SIGILWATCH_ALERTS_SLACK_BODY_TEMPLATE: '{summary} {?node:at {node}}',
  };
  const { code } = await collectorCli(['alerts', 'test', 'slack'], { ...env(), ...templates });
  const { text, blocks } = Object(receivers.taken(receiverPaths.slack).at(-1));
  assert.deepEqual([code, text], [0, 'TEST all is lost: info']);
  assert.match(blocks[1].text.text, /^This is a test of this channel/);
});

test('--print sends nothing, and shows what would be sent, without secrets', async () => {
  const before = receivers.received.length;
  const templates = { SIGILWATCH_ALERTS_TITLE_TEMPLATE: 'at {key}', SIGILWATCH_ALERTS_SEVERAL_TEMPLATE: '{total}!' };
  const told = await collectorCli(['alerts', 'test', 'slack', '--print'], { ...env(), ...templates });
  assert.deepEqual([told.code, told.stderr], [0, '']);
  assert.match(told.stdout, /"text": "at drift\.unauthorized\/node1"/);
  assert.match(told.stdout, /"text": "3!"/);
  assert.match(told.stdout, /nothing was sent\n$/);
  const paged = await collectorCli(['alerts', 'test', 'pagerduty', '--print', '--json'], { ...env(), ...templates });
  const { sent, messages } = JSON.parse(paged.stdout);
  assert.deepEqual([sent, messages.length, messages[0].message[0].routing_key], [false, 3, '********']);
  assert.ok(!`${told.stdout}${paged.stdout}`.includes(receivers.routingKey) && !told.stdout.includes('XXXX'));
  assert.equal(receivers.received.length, before);
});

test('a template that is wrong is wrong usage, and names what is wrong and what there is', async () => {
  const said = await collectorCli(['alerts', 'test', 'slack'], {
    ...env(),
    SIGILWATCH_ALERTS_TITLE_TEMPLATE: '{host}',
  });
  assert.deepEqual([said.code, said.stdout], [2, '']);
  assert.match(said.stderr, /alerts\.titleTemplate: "\{host\}" from env .* \{state\} .*; \{host\} is none of them/);
});
