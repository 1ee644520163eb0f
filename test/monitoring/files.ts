import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

/** What users of the metrics are given: rules for Prometheus, a dashboard for Grafana, and the pages that rules and alerts lead to. */
export const root = join(import.meta.dirname, '../..');
export const rulesFile = 'docs/monitoring/prometheus-rules.yml';
export const rulesTestFile = 'docs/monitoring/prometheus-rules.test.yml';
/** One for all nodes together, one for a single one. */
export const dashboards = ['grafana-fleet.json', 'grafana-node.json'] as const;

export type DashboardFile = (typeof dashboards)[number];

/** @param path from the root of the project. */
export function readText(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Names of the pages of the runbook, without its index. */
export function pages(): string[] {
  return readdirSync(join(root, 'docs/runbook')).filter((name) => name !== 'README.md');
}

export interface AlertingRule {
  readonly name: string;
  readonly expr: string;
  readonly severity: string | undefined;
  readonly runbook: string;
}

const rules = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Sigilwatch[A-Z]/),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.strictObject({ severity: z.enum(['warning', 'error', 'critical']) }).optional(),
          annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook_url: z.string() }),
        }),
      ),
    }),
  ),
});

/** @throws ZodError for a rule without severity, summary, description or page. */
export function alertingRules(): AlertingRule[] {
  return rules.parse(parse(readText(rulesFile))).groups.flatMap((group) =>
    group.rules.map(({ alert, expr, labels, annotations }) => ({
      ...{ name: alert, expr, severity: labels?.severity, runbook: annotations.runbook_url },
    })),
  );
}

const dashboard = z.object({
  uid: z.string(),
  panels: z.array(
    z.object({
      id: z.int(),
      title: z.string(),
      targets: z
        .array(z.object({ expr: z.string(), datasource: z.strictObject({ type: z.string(), uid: z.string() }) }))
        .default([]),
    }),
  ),
  templating: z.object({ list: z.array(z.object({ name: z.string(), definition: z.string().optional() })) }),
});

/** A dashboard as Grafana imports it, as far as tests look at it. */
export function readDashboard(file: DashboardFile): z.output<typeof dashboard> {
  return dashboard.parse(JSON.parse(readText(`docs/monitoring/${file}`)));
}

/** Expressions as Grafana sends them. */
export function dashboardExpressions(file: DashboardFile): string[] {
  return readDashboard(file).panels.flatMap(({ targets }) => targets.map(({ expr }) => withVariables(expr)));
}

function withVariables(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*');
}

/** Words of PromQL that stand where a metric could: everything else that no `(` follows is one. */
const keywords = new Set(['and', 'or', 'unless', 'bool', 'offset', 'by', 'without', 'on', 'ignoring', 'group_left']);

/** Names of the metrics in an expression. */
export function metricsIn(expr: string): string[] {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(by|without|on|ignoring|group_left)\s*\([^)]*\)/g, '');
  const words = [...bare.matchAll(/\b([a-z_]\w*)\b(?!\s*\()/gi)].map(([, word = '']) => word);
  return words.filter((word) => !keywords.has(word));
}
