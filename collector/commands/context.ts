import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { AppError, errnoOf } from '../../common/errors.ts';
import { nodeName } from '../../common/fields.ts';
import type { KeyPair } from '../../common/keys.ts';
import type { LogEvent, Logger } from '../../common/log.ts';
import { printableJson, printableLines } from '../../common/printable.ts';
import { createTeardown } from '../../common/teardown.ts';
import { openLedger } from '../app.ts';
import { systemClock } from '../clock.ts';
import type { CollectorSettings } from '../config.ts';
import { becomeOwner } from '../data/data-dir.ts';
import { collectorKeyPath, readCollectorKey } from '../data/keys.ts';
import { type OpenDatabase, openDatabase, requireMigrated } from '../database.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { ServerChoice } from './server.ts';

/** Standard output or error. */
export type CommandOutput = Writable & { readonly isTTY?: boolean };

/** What every command gets. */
export interface CommandContext {
  readonly settings: CollectorSettings;
  readonly json: boolean;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
  readonly stopRequested: Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--token-file`, for the collector that is asked. */
  readonly tokenFile?: string | undefined;
  /** `--ca-file`, or what the environment has for it. */
  readonly caFile?: string | undefined;
  /** The collector that resources are asked of; undefined for the one whose data directory is here. */
  readonly server?: ServerChoice | undefined;
  /** Whether the command line or the environment says where the data are: then a sign-in elsewhere does not count. */
  readonly namesData?: boolean;
}

export interface OpenCollectorData {
  readonly database: OpenDatabase;
  readonly keys: KeyPair;
}

/**
 * The data of a collector that exists, running or not: never makes a database, a key or a table.
 * @throws AppError `validation.request` where a server is named; `resource.not_found`, `validation.config`, `database.*`,
 *   `auth.key_file`.
 */
export async function withCollectorData<T>(
  context: CommandContext,
  work: (data: OpenCollectorData) => Promise<T>,
): Promise<T> {
  const { settings, server } = context;
  if (server !== undefined) throw notElsewhere();
  await becomeOwner(settings.dataDir);
  await requireDataDir(settings);
  const logger = stderrLogger(context.stderr);
  const teardown = createTeardown(logger);
  try {
    const database = await openDatabase({ settings, logger, teardown });
    await requireMigrated(database);
    return await work({ database, keys: await readCollectorKey(collectorKeyPath(settings.dataDir)) });
  } finally {
    await teardown.run();
  }
}

/** As {@link withCollectorData}, with the ledger open for writing and proving. */
export function withLedger<T>(
  context: CommandContext,
  work: (open: OpenCollectorData & { readonly ledger: Ledger }) => Promise<T>,
): Promise<T> {
  return withCollectorData(context, async (data) => {
    const logger = stderrLogger(context.stderr);
    const teardown = createTeardown(logger);
    try {
      const ledger = await openLedger(context.settings, { ...data, clock: systemClock, teardown, logger });
      return await work({ ...data, ledger });
    } finally {
      await teardown.run();
    }
  });
}

/** Whoever names a server does not mean the data that happen to be here. */
export function notElsewhere(): AppError {
  return new AppError(
    'validation.request',
    'this command works on the data directory of a collector: run it there, without --server and SIGILWATCH_SERVER',
  );
}

async function requireDataDir({ dataDir, database }: CollectorSettings): Promise<void> {
  if (database.url !== undefined) return;
  const found = await stat(join(dataDir, 'postgres')).catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw new AppError(
      'validation.config',
      `cannot look into the data directory ${dataDir} (${errnoOf(thrown)}): run this as the user who runs the collector, or give the right --data-dir`,
      { cause: thrown, details: { dataDir } },
    );
  });
  if (found !== undefined) return;
  throw new AppError(
    'resource.not_found',
    `there is no collector in the data directory ${dataDir}: start one with "sigilwatch-collector run", or give the right --data-dir`,
    { details: { dataDir } },
  );
}

/** For commands whose standard output is their result: only trouble is said, to whoever watches. */
export function stderrLogger(stderr: CommandOutput): Logger {
  const say =
    (level: string): LogEvent =>
    (event, fields) => {
      const error = fields?.error;
      stderr.write(`${level}: ${event}${error instanceof Error ? ` (${error.message})` : ''}\n`);
    };
  return { debug: () => {}, info: () => {}, warn: say('warning'), error: say('error') };
}

/** Writes the result: as one line of JSON when that was asked for, else as text. */
export function show<T>({ json, stdout }: CommandContext, result: T, format: (result: T) => string): void {
  stdout.write(json ? printableJson(result) : printableLines(format(result)));
}

/** @throws AppError `validation.request`. */
export function requireNodeName(text: string): string {
  const parsed = nodeName.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new AppError('validation.request', `"${text}" cannot be a node name: lower-case letters, digits and hyphens`);
}

/** As {@link requireNodeName}, for a filter. */
export function optionalNodeName(text: string | undefined): string | undefined {
  return text === undefined ? undefined : requireNodeName(text);
}
