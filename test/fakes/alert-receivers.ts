import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { z } from 'zod';
import type { TestCertificate } from './certificate.ts';

/*
 * What stands at the other end of each channel, strict: what the vendor's documentation does not allow is refused as the vendor would,
 * and unknown members are, since nobody documents them. Written from the documentation, it shares no code with the channels.
 */

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly status: number;
}

export interface AlertReceivers {
  readonly url: string;
  readonly routingKey: string;
  readonly webhookSecret: string;
  /** Everything that came, with the answer it got. */
  readonly received: readonly Received[];
  /** JSON that was taken, by path. */
  taken(path: string): readonly unknown[];
  /** Instead of the right answer, once for each request; `hang` says nothing. */
  readonly misbehaviours: ('hang' | { status: number; headers?: Record<string, string>; body?: string })[];
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

export const receiverPaths = {
  slack: '/services/T000/B000/XXXX',
  discord: '/api/webhooks/1/token',
  pagerduty: '/v2/enqueue',
  webhook: '/hook',
  alertmanager: '/am/api/v2/alerts',
} as const;

const routingKey = '0123456789abcdef0123456789abcdef';
const webhookSecret = `whsec_${Buffer.from('a key that only the two of us have').toString('base64')}`;

export async function startAlertReceivers(tls?: TestCertificate): Promise<AlertReceivers> {
  const received: Received[] = [];
  const misbehaviours: AlertReceivers['misbehaviours'] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    void readBody(request).then((body) => {
      const path = request.url ?? '';
      const odd = misbehaviours.shift();
      if (odd === 'hang') {
        received.push({ path, headers: request.headers, body, status: 0 });
        return;
      }
      const right = odd === undefined ? judge(request, path, body) : { body: odd.body ?? '', status: odd.status };
      received.push({ path, headers: request.headers, body, status: right.status });
      const type = 'type' in right && right.type !== undefined ? right.type : 'text/plain';
      response.writeHead(right.status, { 'content-type': type, ...odd?.headers }).end(right.body);
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return {
    ...{ routingKey, webhookSecret, received, misbehaviours },
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`,
    taken: (path) =>
      received
        .filter((one) => one.path === path && one.status >= 200 && one.status < 300)
        .map(({ body }) => JSON.parse(body)),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function judge({ method, headers }: IncomingMessage, path: string, body: string): Answer {
  if (method !== 'POST') return { status: 405, body: 'method' };
  if (headers['content-type'] !== 'application/json') return { status: 415, body: 'content type' };
  switch (path) {
    case receiverPaths.slack:
      return judged(slack, body, { status: 200, body: 'ok' }, () => ({ status: 400, body: 'invalid_blocks' }));
    case receiverPaths.discord:
      return judged(discord, body, { status: 204, body: '' }, (why) => ({
        ...{ status: 400, type: 'application/json', body: JSON.stringify({ code: 50_035, message: why }) },
      }));
    case receiverPaths.pagerduty:
      return judgePagerduty(body);
    case receiverPaths.webhook:
      return judgeSignature(headers, body);
    case receiverPaths.alertmanager:
      return judged(postableAlerts, body, { status: 200, body: '' }, (why) => ({
        status: 400,
        body: JSON.stringify(why),
      }));
    default:
      return { status: 404, body: 'no_service' };
  }
}

function judged(schema: z.ZodType, body: string, taken: Answer, refused: (why: string) => Answer): Answer {
  const parsed = schema.safeParse(json(body));
  return parsed.success ? taken : refused(z.prettifyError(parsed.error));
}

function json(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** Text without control characters; `<` and `>` only as entities, `&` only as the beginning of one (Slack, "Formatting text"). */
const slackText = z.string().refine((text) => !/[<>]|&(?!(amp|lt|gt);)/.test(text), 'not escaped');
/** Neither empty nor blank, which the vendors take for empty, and without control characters. */
const noControls = (text: string): boolean => text.trim() !== '' && !/\p{Cc}/u.test(text);
/** As above, with lines. */
const noControlsInLines = (text: string): boolean => noControls(text.replaceAll('\n', ' '));
const slackPlain = (max: number, isFit = noControls) =>
  z.strictObject({
    type: z.literal('plain_text'),
    text: slackText.min(1).max(max).refine(isFit),
    emoji: z.boolean().optional(),
  });

/** Markup is trusted with one thing: a link, of signs that cannot end it. */
const slackLink = z.strictObject({
  type: z.literal('mrkdwn'),
  text: z.string().regex(/^<https?:\/\/[\w.:~%/[\]-]+\|[A-Za-z :-]+>$/),
  verbatim: z.literal(true),
});

/** Incoming webhooks and Block Kit; all blocks together below what chat.postMessage was seen to refuse as `msg_blocks_too_long`. */
const slack = z
  .strictObject({
    text: slackText.min(1).max(4_000).refine(noControls),
    mrkdwn: z.boolean().optional(),
    parse: z.literal('none').optional(),
    link_names: z.literal(false).optional(),
    unfurl_links: z.boolean().optional(),
    unfurl_media: z.boolean().optional(),
    blocks: z
      .array(
        z.discriminatedUnion('type', [
          z.strictObject({ type: z.literal('header'), text: slackPlain(150) }),
          z.strictObject({ type: z.literal('section'), text: slackPlain(3_000, noControlsInLines) }),
          z.strictObject({
            type: z.literal('context'),
            elements: z
              .array(z.discriminatedUnion('type', [slackPlain(3_000), slackLink]))
              .min(1)
              .max(10),
          }),
        ]),
      )
      .max(50),
  })
  .refine(({ blocks }) => JSON.stringify(blocks).length <= 13_000, 'msg_blocks_too_long');

/** No sign that markdown could act on without a backslash before it. */
const unmarked = z.string().refine((text) => !/[!-/:-@[-`{-~]/.test(text.replace(/\\[!-/:-@[-`{-~]/g, '')), 'markdown');
const discordText = unmarked.refine(noControls);

const discord = z
  .strictObject({
    username: z
      .string()
      .min(1)
      .max(80)
      .refine((name) => !/discord|clyde/i.test(name))
      .optional(),
    content: discordText.min(1).max(2_000),
    // Only with an empty list nobody is called.
    allowed_mentions: z.strictObject({ parse: z.array(z.never()) }),
    embeds: z
      .array(
        z.strictObject({
          title: discordText.min(1).max(256),
          url: z
            .url({ protocol: /^https?$/ })
            .max(2_048)
            .optional(),
          description: unmarked.refine(noControlsInLines).min(1).max(4_096),
          color: z.int().min(0).max(0xffffff),
          timestamp: z.iso.datetime(),
          footer: z.strictObject({ text: z.string().min(1).max(2_048).refine(noControls) }),
        }),
      )
      .min(1)
      .max(10),
  })
  .refine(
    ({ embeds }) =>
      embeds.reduce(
        (sum, { title, description, footer }) => sum + title.length + description.length + footer.text.length,
        0,
      ) <= 6_000,
    'MAX_EMBED_SIZE_EXCEEDED',
  );

const dedupKey = z.string().min(1).max(255);
const pagerduty = z.discriminatedUnion('event_action', [
  z.strictObject({
    routing_key: z.string().length(32),
    event_action: z.literal('trigger'),
    dedup_key: dedupKey,
    client: z.string().optional(),
    links: z.array(z.strictObject({ href: z.url({ protocol: /^https?$/ }), text: z.string().min(1) })).optional(),
    payload: z.strictObject({
      summary: z.string().min(1).max(1_024).refine(noControls),
      source: z.string().min(1),
      severity: z.enum(['critical', 'error', 'warning', 'info']),
      timestamp: z.iso.datetime().optional(),
      component: z.string().optional(),
      group: z.string().optional(),
      class: z.string().optional(),
      custom_details: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
  z.strictObject({
    routing_key: z.string().length(32),
    event_action: z.enum(['resolve', 'acknowledge']),
    dedup_key: dedupKey,
  }),
]);

function judgePagerduty(body: string): Answer {
  const type = 'application/json';
  if (Buffer.byteLength(body) > 512 * 1024) return { status: 413, body: 'too large' };
  const parsed = pagerduty.safeParse(json(body));
  if (!parsed.success || parsed.data.routing_key !== routingKey) {
    const errors = parsed.success ? ['routing_key'] : [z.prettifyError(parsed.error)];
    return {
      status: 400,
      type,
      body: JSON.stringify({ status: 'invalid event', message: 'Event object is invalid', errors }),
    };
  }
  const { dedup_key } = parsed.data;
  return { status: 202, type, body: JSON.stringify({ status: 'success', message: 'Event processed', dedup_key }) };
}

/** Standard Webhooks 1.0: id without a dot, whole seconds within five minutes, one of the signatures right. */
function judgeSignature(headers: IncomingHttpHeaders, body: string): Answer {
  const id = String(headers['webhook-id'] ?? '');
  const seconds = String(headers['webhook-timestamp'] ?? '');
  if (!/^[^.\s]+$/.test(id) || !/^\d+$/.test(seconds)) return { status: 400, body: 'headers' };
  if (Math.abs(Date.now() / 1_000 - Number(seconds)) > 300) return { status: 401, body: 'too old' };
  const key = Buffer.from(webhookSecret.slice('whsec_'.length), 'base64');
  const right = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest();
  const given = String(headers['webhook-signature'] ?? '').split(' ');
  const isRight = given.some((one) => {
    const bytes = Buffer.from(one.replace(/^v1,/, ''), 'base64');
    return one.startsWith('v1,') && bytes.length === right.length && timingSafeEqual(bytes, right);
  });
  if (!isRight) return { status: 401, body: 'signature' };
  const payload = z.strictObject({
    type: z.string().regex(/^[a-z_]+(\.[a-z_]+)*$/),
    timestamp: z.iso.datetime(),
    data: z.object({ notification: z.literal(id) }).loose(),
  });
  return judged(payload, body, { status: 202, body: '' }, (why) => ({ status: 400, body: why }));
}

/** `openapi.yaml` of Alertmanager's API v2, and the checks behind it: an alert needs labels with plain names, and cannot end first. */
const labelSet = z.record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/), z.string());
const postableAlerts = z.array(
  z
    .strictObject({
      labels: labelSet.refine(
        (labels) => Object.values(labels).some((value) => value !== ''),
        'at least one label pair required',
      ),
      annotations: labelSet.optional(),
      startsAt: z.iso.datetime().optional(),
      endsAt: z.iso.datetime().optional(),
      generatorURL: z.url().optional(),
    })
    .refine(
      ({ startsAt, endsAt }) => startsAt === undefined || endsAt === undefined || startsAt <= endsAt,
      'start time must be before end time',
    ),
);

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
