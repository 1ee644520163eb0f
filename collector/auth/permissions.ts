/**
 * Who may do what: the one table. Roles are named with the permissions that every one of their holders has; nothing is
 * inherited that is not written here. `anonymous` is whoever has not signed in.
 */
export const roles = ['admin', 'operator', 'developer', 'observer', 'anonymous'] as const;

export type Role = (typeof roles)[number];

interface Grant {
  /** What it allows, as it is told to people. */
  readonly allows: string;
  readonly roles: readonly Role[];
}

const everybody: readonly Role[] = roles;
const signedIn: readonly Role[] = ['admin', 'operator', 'developer', 'observer'];
const builders: readonly Role[] = ['admin', 'operator', 'developer'];
const operators: readonly Role[] = ['admin', 'operator'];
const admins: readonly Role[] = ['admin'];

const grants = {
  'service.health': { allows: 'see that the service lives', roles: everybody },
  'service.documents': { allows: 'read the description of this API', roles: everybody },
  'service.operate': { allows: 'read readiness and metrics, and where agents have theirs', roles: signedIn },
  'sessions.start': { allows: 'sign in, and make the first administrator with the setup code', roles: everybody },
  'self.read': { allows: 'see who they are, and what they may do', roles: signedIn },
  'sessions.own': { allows: 'see and end sessions of their own, and change the password', roles: signedIn },
  'nodes.enrol': { allows: 'enrol a node with a join token', roles: everybody },
  'nodes.manage': { allows: 'make join tokens and revoke nodes', roles: operators },
  'fleet.read': { allows: 'read nodes, containers, drifts, findings and reports', roles: signedIn },
  'ledger.read': { allows: 'read entries, and who vouches for them', roles: signedIn },
  'log.read': {
    allows: 'read the log as files, below /log/; everybody may where ledger.public is set',
    roles: signedIn,
  },
  'events.read': { allows: 'follow what happens as it happens', roles: signedIn },
  'alerts.read': { allows: 'read alerts and what became of telling people', roles: signedIn },
  'alerts.answer': { allows: 'acknowledge and silence alerts', roles: operators },
  'orders.read': { allows: 'read orders and what holds them up', roles: signedIn },
  'orders.issue': { allows: 'give orders by hand, where the manifest permits it', roles: operators },
  'orders.approve': { allows: 'bring signatures of approvers', roles: builders },
  'orders.reject': { allows: 'end orders before they are carried out', roles: operators },
  'governance.read': { allows: 'read what decides about orders now', roles: signedIn },
  'governance.change': { allows: 'release frozen commits and silence drifts', roles: operators },
  'changes.announce': { allows: 'announce changes of images, signed', roles: builders },
  'desired.refresh': { allows: 'have the repository of the manifest looked at now', roles: builders },
  'artifacts.read': { allows: 'read artifacts, their lineage and scores', roles: signedIn },
  'artifacts.register': { allows: 'register artifacts', roles: builders },
  'artifacts.sweep': { allows: 'have artifacts scored now', roles: operators },
  'enforcements.read': { allows: 'read enforcement jobs and their outcomes', roles: signedIn },
  'enforcements.request': { allows: 'request the enforcement of an artifact', roles: operators },
  'budgets.read': { allows: 'read budgets of destructive actions', roles: signedIn },
  'budgets.use': { allows: 'request, commit and release parts of budgets', roles: operators },
  'breakers.read': { allows: 'read the circuit breakers', roles: signedIn },
  'breakers.reset': { allows: 'reset circuit breakers', roles: admins },
  'dead_letters.read': { allows: 'read jobs and notifications whose attempts are exhausted', roles: operators },
  'dead_letters.manage': { allows: 'retry and resolve them', roles: admins },
  'tokens.own': { allows: 'make and revoke API tokens of their own', roles: signedIn },
  'tokens.manage': { allows: "see and revoke everybody's API tokens", roles: admins },
  'users.manage': { allows: 'make, change and lock users', roles: admins },
} as const satisfies Readonly<Record<string, Grant>>;

export type Permission = keyof typeof grants;

export const permissions: Readonly<Record<Permission, Grant>> = grants;

/** Every permission by name, in the order of the table. */
export const permissionNames = Object.keys(grants).filter((name): name is Permission => name in grants);

/** What holders of a role may do. */
export function permissionsOf(role: Role): ReadonlySet<Permission> {
  return new Set(permissionNames.filter((name) => permissions[name].roles.includes(role)));
}
