import { z } from 'zod';
import type { WantedHealthcheck, WantedNetwork } from '../container-config.ts';
import {
  bounded,
  byForm,
  mapOf,
  maxAliases,
  maxArguments,
  maxDependencies,
  maxNameChars,
  maxNetworks,
  name,
  spelledBy,
  truth,
  value,
} from './forms.ts';
import { spellDurationMs } from './spelling.ts';

/* What a container needs to be made beyond its configuration: its health check, its networks, and what must be there first. */

const duration = spelledBy(bounded(maxNameChars), spellDurationMs);

export const healthcheck = z
  .strictObject({
    test: byForm(
      {
        text: value.transform((text): string[] => ['CMD-SHELL', text]),
        list: z
          .array(value)
          .min(1)
          .max(maxArguments)
          .refine(
            ([kind = '']) => ['NONE', 'CMD', 'CMD-SHELL'].includes(kind),
            'a list that begins with NONE, CMD or CMD-SHELL',
          ),
      },
      'a text, or a list that begins with NONE, CMD or CMD-SHELL',
    ).optional(),
    interval: duration.optional(),
    timeout: duration.optional(),
    start_period: duration.optional(),
    start_interval: duration.optional(),
    retries: byForm(
      { number: z.int().min(0).max(1_000_000), text: z.stringFormat('a whole number', /^\d{1,6}$/).transform(Number) },
      'a whole number',
    ).optional(),
    disable: truth.optional(),
  })
  .transform(
    ({ disable, test, interval, timeout, start_period, start_interval, retries }): WantedHealthcheck => ({
      ...(disable ? { test: ['NONE'] } : test === undefined ? {} : { test }),
      ...(interval === undefined ? {} : { interval_ms: interval }),
      ...(timeout === undefined ? {} : { timeout_ms: timeout }),
      ...(start_period === undefined ? {} : { start_period_ms: start_period }),
      ...(start_interval === undefined ? {} : { start_interval_ms: start_interval }),
      ...(retries === undefined ? {} : { retries }),
    }),
  );

const attachment = z
  .strictObject({
    aliases: z.array(name).max(maxAliases).default([]),
    ipv4_address: name.optional(),
    ipv6_address: name.optional(),
  })
  .transform(({ aliases, ipv4_address, ipv6_address }) => ({
    aliases,
    ...(ipv4_address === undefined ? {} : { ipv4_address }),
    ...(ipv6_address === undefined ? {} : { ipv6_address }),
  }));

export const networks = byForm(
  {
    list: z.array(name.transform((name): WantedNetwork => ({ name, aliases: [] }))).max(maxNetworks),
    map: mapOf(
      name,
      byForm({ map: attachment, null: z.null().transform(() => attachment.parse({})) }, 'a map, or nothing'),
      maxNetworks,
    ).transform((entries): WantedNetwork[] => entries.map(([name, rest]) => ({ name, ...rest }))),
  },
  'a list of names, or a map',
);

/** Another container, in compose another service, that has to be there first. */
export interface Dependency {
  readonly name: string;
  readonly condition: 'service_started' | 'service_healthy' | 'service_completed_successfully';
  readonly required: boolean;
}

const dependency = z.strictObject({
  condition: z
    .enum(['service_started', 'service_healthy', 'service_completed_successfully'])
    .default('service_started'),
  required: truth.default(true),
  restart: truth.optional(),
});

export const dependencies = byForm(
  {
    list: z
      .array(name.transform((name): Dependency => ({ name, condition: 'service_started', required: true })))
      .max(maxDependencies),
    map: mapOf(name, dependency, maxDependencies).transform((entries): Dependency[] =>
      entries.map(([name, { condition, required }]) => ({ name, condition, required })),
    ),
  },
  'a list of names, or a map',
);
