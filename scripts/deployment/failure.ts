/** Why a machine could not be brought up, or nothing was begun at all; told without a stack. */
export class DeploymentError extends Error {}

export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
