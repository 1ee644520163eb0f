import type { Caller } from '../auth/caller.ts';

/** The same ports, for what this request wishes: on record are who asks, and by which request. */
export function actingFor<P extends object>(
  ports: P,
  { caller, requestId }: { readonly caller: Caller; readonly requestId: string },
): P & { readonly actor: string; readonly requestId: string } {
  return { ...ports, actor: caller.actor, requestId };
}
