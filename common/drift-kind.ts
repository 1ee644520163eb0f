/** How a difference between desired and observed state is called. */
export const driftKinds = ['UNAUTHORIZED_CONTAINER', 'MISSING_CONTAINER', 'IMAGE_DRIFT', 'CONFIG_DRIFT'] as const;
export type DriftKind = (typeof driftKinds)[number];
