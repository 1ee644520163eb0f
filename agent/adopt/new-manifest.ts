/** A manifest for a repository that has none: it wants nothing yet, and nothing is done about what differs. */
export function newManifest(node: string): string {
  return `# What should run on which node, and what is to be done when something else does.
nodes:
  - name: ${JSON.stringify(node)}

config:
  enforcement_mode: audit

containers: []

drift_rules:
  unauthorized_containers: { action: alert }
  image_drift: { action: alert }
  missing_containers: { action: alert }
  config_drift: { action: alert }
`;
}
