import type { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { type AlertSettings, type ChannelKind, channelForms, channelKinds, type NamedChannel } from './settings.ts';

/** A channel that is in use, as it is set. */
export type ChannelWish = {
  readonly [K in ChannelKind]: {
    readonly kind: K;
    /** In messages, metrics and the queue. */
    readonly name: string;
    /** How the settings call it: `alerts.slack`, `alerts.channels (oncall)`. */
    readonly at: string;
    readonly set: z.output<(typeof channelForms)[K]>;
  };
}[ChannelKind];

/** Reads a text file. @throws what the file system throws. */
export type ReadText = (path: string) => Promise<string>;

/**
 * Every channel that the settings name: one of each kind under the name of the kind, and those with names of their own.
 * @throws AppError `validation.config` for a file that cannot be read, what is not of the form of its kind, and a name that is given twice.
 */
export async function channelWishes(settings: AlertSettings, readText: ReadText): Promise<readonly ChannelWish[]> {
  const plain = channelKinds
    .map((kind) => wishOf({ kind, name: kind, at: `alerts.${kind}` }, settings[kind]))
    .filter((wish) => addressOf(wish) !== undefined);
  const named = await Promise.all(settings.channels.map((channel) => namedWish(channel, readText)));
  const names = new Set<string>();
  for (const { name, at } of [...plain, ...named]) {
    if (names.has(name)) throw wrong(at, `another channel has the name ${name}`);
    names.add(name);
  }
  return [...plain, ...named];
}

interface Called {
  readonly kind: ChannelKind;
  readonly name: string;
  readonly at: string;
}

function wishOf({ kind, name, at }: Called, set: unknown): ChannelWish {
  const called = { name, at };
  switch (kind) {
    case 'slack':
      return { ...called, kind, set: ofForm(channelForms.slack, set, at) };
    case 'discord':
      return { ...called, kind, set: ofForm(channelForms.discord, set, at) };
    case 'pagerduty':
      return { ...called, kind, set: ofForm(channelForms.pagerduty, set, at) };
    case 'webhook':
      return { ...called, kind, set: ofForm(channelForms.webhook, set, at) };
    case 'alertmanager':
      return { ...called, kind, set: ofForm(channelForms.alertmanager, set, at) };
    case 'email':
      return { ...called, kind, set: ofForm(channelForms.email, set, at) };
  }
}

/** Messages name what is wrong and never the value, which may be a secret. */
function ofForm<T>(form: z.ZodType<T>, set: unknown, at: string): T {
  const parsed = form.safeParse(set);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw wrong(at, `${where === '' ? '' : `${where}: `}${issue?.message ?? 'is refused'}`);
}

async function namedWish({ name, kind, ...members }: NamedChannel, readText: ReadText): Promise<ChannelWish> {
  const called = { kind, name, at: `alerts.channels (${name})` };
  const { webhookUrlFile, routingKeyFile, urlFile, secretFile, passwordFile, ...plain } = members;
  const files = {
    webhookUrl: webhookUrlFile,
    routingKey: routingKeyFile,
    url: urlFile,
    secret: secretFile,
    password: passwordFile,
  };
  const read = async (member: keyof typeof files): Promise<Record<string, string>> => {
    const path = files[member];
    if (path === undefined) return {};
    if (plain[member] !== undefined) throw wrong(called.at, `${member} and ${member}File are both set`);
    const text = await readText(path).catch((cause: unknown) => {
      throw wrong(called.at, `${member}File names ${path}, which cannot be read`, cause);
    });
    return { [member]: text.replace(/\r?\n$/, '') };
  };
  const fromFiles = await Promise.all([
    ...[read('webhookUrl'), read('routingKey'), read('url'), read('secret'), read('password')],
  ]);
  const given = Object.entries(plain).filter(([, value]) => value !== undefined);
  const wish = wishOf(called, Object.assign({}, Object.fromEntries(given), ...fromFiles));
  if (addressOf(wish) === undefined) throw wrong(called.at, `${addresses[kind]} is missing`);
  return wish;
}

const addresses: Readonly<Record<ChannelKind, string>> = {
  ...{ slack: 'webhookUrl', discord: 'webhookUrl', pagerduty: 'routingKey' },
  ...{ webhook: 'url', alertmanager: 'url', email: 'host' },
};

/** Without it a channel is not in use. */
function addressOf({ kind, set }: ChannelWish): string | undefined {
  switch (kind) {
    case 'slack':
    case 'discord':
      return set.webhookUrl;
    case 'pagerduty':
      return set.routingKey;
    case 'webhook':
    case 'alertmanager':
      return set.url;
    case 'email':
      return set.host;
  }
}

function wrong(at: string, what: string, cause?: unknown): AppError {
  return new AppError('validation.config', `${at}: ${what}`, { cause });
}
