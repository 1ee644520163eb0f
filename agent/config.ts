import { z } from 'zod';
import { isCron } from '../common/cron.ts';
import { limits } from '../common/limits.ts';
import { logLevels } from '../common/log.ts';
import { storePlace } from './tables/table-settings.ts';

const storeNamePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** In place of a schedule: the agent starts no integrity run by itself. */
export const noSchedule = 'off';

/** How snapshots of clean stores come about; `links` copies what cannot be linked. */
const snapshotMethods = ['links', 'copies', 'off'] as const;

/** Every setting of the agent, with its default. Read by `loadSettings`; `--print-config` shows them in force. */
export const agentSettings = z.strictObject({
  dataDir: z.string().min(1).default('/var/lib/sigilwatch-agent').describe('keys, outbox and state of this node'),
  log: z.strictObject({ level: z.enum(logLevels).default('info').describe('least level that is logged') }),
  scanIntervalMs: z
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(limits.scanIntervalMs)
    .describe('time between full scans; engine events are seen at once'),
  docker: z.strictObject({
    socketPath: z.string().min(1).default('/var/run/docker.sock'),
    label: z
      .string()
      .min(1)
      .optional()
      .describe('only containers with this label (key or key=value), where several nodes share one engine'),
  }),
  manifest: z.strictObject({
    repository: z.string().min(1).optional().describe('local git checkout or bare repository with the manifest'),
    allowedSigners: z
      .string()
      .min(1)
      .optional()
      .describe('OpenSSH allowed_signers file: commits must be signed by one of its keys, or by one of gpgHome'),
    revokedSigners: z
      .string()
      .min(1)
      .optional()
      .describe('OpenSSH revocation list (KRL, or public keys one a line): SSH keys that sign nothing any more'),
    gpgHome: z
      .string()
      .min(1)
      .optional()
      .describe('GnuPG home: commits must be signed by one of its fully trusted keys, or by one of allowedSigners'),
  }),
  sigils: z.strictObject({
    stores: z
      .record(z.string().regex(storeNamePattern, 'lower-case letters, digits, dots, hyphens'), storePlace)
      .refine((stores) => Object.keys(stores).length <= limits.maxStores, `at most ${limits.maxStores} stores`)
      .default({})
      .describe('what to check, by name: LevelDB folders, and tables as {postgres: {url or urlFile, table, columns}}'),
    secrets: z.array(z.string().min(1)).max(2).default([]).meta({
      secret: true,
      description: 'event secrets in force: the current one and, while rotating, the previous one',
    }),
    fullScanCpuShare: z.number().positive().max(1).default(0.25).describe('share of one core a full scan may take'),
  }),
  integrity: z.strictObject({
    schedule: z
      .string()
      .refine((text) => text === noSchedule || isCron(text), `five fields of cron, in local time, or ${noSchedule}`)
      .default('0 2 * * *')
      .describe(`when all stores are checked completely; ${noSchedule} where something else has it done`),
    jitterMs: z
      .int()
      .min(0)
      .max(86_400_000)
      .default(limits.defaultIntegrityJitterMs)
      .describe('nodes begin within this time, each always at the same moment of it'),
    keepDays: z
      .int()
      .min(1)
      .max(limits.maxReportDays)
      .default(limits.defaultReportDays)
      .describe('how long reports of integrity runs are kept'),
    keepReports: z
      .int()
      .min(limits.reportsKeptAnyway)
      .max(limits.maxReportsKept)
      .default(limits.defaultReportsKept)
      .describe('how many of them'),
    snapshots: z.strictObject({
      by: z
        .enum(snapshotMethods)
        .default('links')
        .describe(
          'what is kept of a clean store: hard links to its tables, or copies where there can be none; only copies; off',
        ),
      keepDays: z
        .int()
        .min(1)
        .max(limits.maxReportDays)
        .default(limits.defaultSnapshotDays)
        .describe('how long; the newest stays'),
      keep: z.int().min(1).max(limits.maxSnapshotsKept).default(limits.defaultSnapshotsKept).describe('how many'),
      maxBytes: z
        .int()
        .min(1024 * 1024)
        .default(limits.defaultSnapshotBytes)
        .describe('of the disk, for each store, beside what the store itself takes'),
    }),
  }),
  collector: z.strictObject({
    url: z
      .string()
      .regex(/^https?:\/\//, 'a URL such as https://collector.example.org:7600')
      .optional()
      .describe('where the collector is now, when that is not where this node was enrolled'),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe(
        'PEM file of the authorities that the collector is checked by over TLS, instead of those of the system',
      ),
  }),
  outbox: z.strictObject({
    maxBytes: z
      .int()
      .min(1024 * 1024)
      .default(limits.outboxMaxBytes)
      .describe('room for entries the collector has not acknowledged'),
  }),
  http: z.strictObject({
    host: z.string().min(1).default('127.0.0.1'),
    port: z.int().min(0).max(65_535).default(7601).describe('/metrics and /healthz; 0 takes a free port'),
  }),
});

export type AgentSettings = z.output<typeof agentSettings>;
