import { z } from 'zod';
import { isCron } from '../common/cron.ts';
import { limits } from '../common/limits.ts';
import { logLevels } from '../common/log.ts';
import { alertSettings } from './alerts/settings.ts';
import { artifactSettings } from './artifacts/settings.ts';
import { authSettings } from './auth/settings.ts';
import { budgetSettings } from './budgets/settings.ts';
import { httpSettings } from './http/settings.ts';
import { jobSettings } from './jobs/settings.ts';
import { monitoringSettings } from './monitoring/settings.ts';

/** In place of a schedule: the collector starts no check by itself. */
export const noSchedule = 'off';

/** A log origin as C2SP recommends it: a name without scheme, spaces or plus, unique to this log. */
const origin = z
  .string()
  .max(limits.maxForeignTextChars)
  .refine((text) => /^[^\s+]+$/.test(text), 'a name such as example.org/ledger, without spaces or plus');

/** Everything an operator can set, with its default. Environment variables follow from the names. */
export const collectorSettings = z.strictObject({
  dataDir: z
    .string()
    .min(1)
    .default('/var/lib/sigilwatch-collector')
    .describe("Folder for the collector's key and the embedded database"),
  http: httpSettings,
  database: z.strictObject({
    url: z
      .string()
      .refine((text) => /^postgres(ql)?:\/\//.test(text), 'a URL such as postgres://user:password@host:5432/database')
      .optional()
      .meta({ secret: true, env: ['DATABASE_URL'] })
      .describe(
        'PostgreSQL 14 or later (several host:port, separated by commas: the one that takes writes); without it an embedded one is run below the data directory',
      ),
    ownerUrl: z
      .string()
      .refine((text) => /^postgres(ql)?:\/\//.test(text), 'a URL such as postgres://owner:password@host:5432/database')
      .optional()
      .meta({ secret: true, env: ['DATABASE_OWNER_URL'] })
      .describe(
        'The same database for the user who owns the tables; that of database.url then gets only what it needs',
      ),
    connections: z.int().min(2).max(200).default(limits.databaseConnections).describe('Size of the connection pool'),
  }),
  ledger: z.strictObject({
    origin: origin.default('sigilwatch.local/ledger').describe('Name of the ledger in its checkpoints; never changes'),
    public: z
      .boolean()
      .default(false)
      .describe(
        'Whether everything below /log/ is open to everybody, entries included, as transparency-log clients expect',
      ),
    retentionDays: z
      .int()
      .min(1)
      .max(36_500)
      .optional()
      .describe(
        'Bodies of entries received longer ago than this are erased, hashes and proofs stay; unset keeps everything',
      ),
    retentionExport: z
      .string()
      .min(1)
      .optional()
      .describe('Folder that entries are exported to before their bodies are erased; unset erases without an export'),
    mirror: z.strictObject({
      repository: z
        .string()
        .min(1)
        .optional()
        .describe('Folder of a git repository that every new entry is committed to as JSON lines; made when missing'),
      branch: z
        .string()
        .regex(/^[A-Za-z0-9][\w./-]*$/, 'a branch name')
        .default('main')
        .describe('Branch of that repository'),
      intervalMs: z
        .int()
        .min(1_000)
        .max(86_400_000)
        .default(limits.mirrorIntervalMs)
        .describe('How often new entries are committed; one commit per batch'),
      remote: z
        .string()
        .regex(/^[^-]/, 'a name or URL that does not begin with a hyphen')
        .optional()
        .describe('Where the branch is pushed after each commit; a push that fails is tried again with the next'),
    }),
  }),
  manifest: z.strictObject({
    repository: z
      .string()
      .min(1)
      .optional()
      .describe('Local git repository with the manifest: what should run, and who witnesses the ledger'),
    allowedSigners: z
      .string()
      .min(1)
      .optional()
      .describe('OpenSSH allowed_signers file, as the nodes have it: who may approve orders and announce changes'),
    revokedSigners: z
      .string()
      .min(1)
      .optional()
      .describe(
        'OpenSSH revocation list (KRL, or public keys one a line), as the nodes have it: keys that sign nothing',
      ),
  }),
  fleet: z.strictObject({
    joinTokenTtlMs: z
      .int()
      .min(1_000)
      .max(limits.joinTokenTtlMs)
      .default(limits.joinTokenTtlMs)
      .describe('How long a join token is good for'),
  }),
  auth: authSettings,
  alerts: alertSettings,
  artifacts: artifactSettings,
  monitoring: monitoringSettings,
  jobs: jobSettings,
  budgets: budgetSettings,
  integrity: z.strictObject({
    schedule: z
      .string()
      .refine((text) => text === noSchedule || isCron(text), `five fields of cron, in local time, or ${noSchedule}`)
      .default('30 3 * * *')
      .describe(
        `When the ledger and its projections are checked completely; ${noSchedule} where something else has it done`,
      ),
    jitterMs: z
      .int()
      .min(0)
      .max(86_400_000)
      .default(limits.defaultIntegrityJitterMs)
      .describe('Ledgers begin within this time, each always at the same moment of it'),
    keepDays: z
      .int()
      .min(1)
      .max(limits.maxReportDays)
      .default(limits.defaultReportDays)
      .describe('How long reports of these checks are kept'),
    keepReports: z
      .int()
      .min(limits.reportsKeptAnyway)
      .max(limits.maxReportsKept)
      .default(limits.defaultReportsKept)
      .describe('How many of them'),
  }),
  log: z.strictObject({
    level: z.enum(logLevels).default('info').describe('Least level that is logged'),
  }),
});

export type CollectorSettings = z.output<typeof collectorSettings>;
