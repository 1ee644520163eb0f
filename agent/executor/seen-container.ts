/** What the executor asks the engine about a container, of its own accord. */
export interface SeenContainer {
  /** Without the leading slash. */
  readonly name: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly isRunning: boolean;
  /** What is mounted from the node, in the spelling of `ContainerConfig`. */
  readonly mounted: readonly string[];
}

/** The container with this id, or undefined when there is none. Rejects when the engine does not answer. */
export type LookUp = (id: string) => Promise<SeenContainer | undefined>;
