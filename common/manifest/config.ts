import { z } from 'zod';
import { limits } from '../limits.ts';
import { flag, period, text, words } from './values.ts';

/**
 * How far an automatic order may go. `audit` is what holds when nothing is written: drift is put on record and nothing is
 * done about it. Whoever wants containers stopped has to say so; a manifest that lost the line must not begin to.
 */
export const enforcementModes = ['active', 'passive', 'audit'] as const;
export type EnforcementMode = (typeof enforcementModes)[number];

const seconds = (minMs = 0) => period({ unit: 'seconds', minMs, maxMs: limits.maxManifestPeriodMs });

/** The manifest's key `config`. */
export const config = z
  .strictObject({
    check_interval: seconds(limits.minCheckIntervalMs).default(limits.scanIntervalMs),
    drift_detection: flag.default(true),
    auto_rollback: flag.default(false),
    enforcement_mode: z.enum(enforcementModes).default('audit'),
    ledger_retention_days: z.int().min(1).max(limits.maxRetentionDays).optional(),
    ledger_format: text.optional(),
    ledger_auto_rotate: flag.optional(),
    git_auto_commit: flag.optional(),
    git_commit_interval: seconds().optional(),
    git_branch: words.optional(),
    git_remote: words.optional(),
    discord_webhook: words.optional(),
    email_alerts: z.array(text).max(limits.maxAlertReceivers).default([]),
    allow_manual_overrides: flag.default(false),
    /** The grace period of every rule that has none of its own. */
    grace_period_seconds: period({ unit: 'seconds', maxMs: limits.maxGracePeriodMs }).default(
      limits.defaultGracePeriodMs,
    ),
  })
  .transform(({ check_interval, git_commit_interval, grace_period_seconds, ...others }) => ({
    ...others,
    check_interval_ms: check_interval,
    git_commit_interval_ms: git_commit_interval,
    grace_period_ms: grace_period_seconds,
  }));

/** The manifest's key `flux`. */
export const flux = z
  .strictObject({
    enabled: flag.default(false),
    offline_mode: flag.default(true),
    sync_interval: seconds().optional(),
    source: text.optional(),
    local_path: text.optional(),
  })
  .transform(({ sync_interval, ...others }) => ({ ...others, sync_interval_ms: sync_interval }));

/** The manifest's key `rollback`. */
export const rollback = z
  .strictObject({
    enabled: flag.default(false),
    max_retries: z.int().min(0).max(limits.maxRollbackRetries).default(limits.defaultRollbackRetries),
    retry_delay: seconds().default(limits.defaultRollbackDelayMs),
    backup_before_rollback: flag.default(true),
    /** A bare number counts days. */
    backup_retention: period({ unit: 'days', maxMs: limits.maxManifestPeriodMs }).default(
      limits.defaultBackupRetentionMs,
    ),
    docker: z
      .strictObject({ method: z.enum(['compose', 'cli', 'api']).default('api'), compose_file: text.optional() })
      .prefault({}),
    kubernetes: z
      .strictObject({ method: z.enum(['kubectl', 'helm', 'flux']).optional(), manifest_path: text.optional() })
      .prefault({}),
  })
  .transform(({ retry_delay, backup_retention, ...others }) => ({
    ...others,
    retry_delay_ms: retry_delay,
    backup_retention_ms: backup_retention,
  }));
