/**
 * How a container is made, beyond its image. Every field has one spelling, so that two configurations can be compared as they
 * are; `common/manifest/spelling.ts` makes it from what people write, `agent/docker/engine-json.ts` from what the engine says.
 */
export interface ContainerConfig {
  /** Arguments; empty when there are none. */
  readonly command: readonly string[];
  readonly entrypoint: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Published: `[<host ip>:][<host port>]-><container port>/<protocol>`, sorted. Without a host port the engine picks one. */
  readonly ports: readonly string[];
  /** Mounts: `<source>:<target>:<ro|rw>`, sorted; the source is a path or a volume's name, empty for an anonymous volume. */
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** As the engine has it (`1000:1000`, `nobody`); empty for the image's. */
  readonly user: string;
  /** `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:<most retries>`. */
  readonly restart_policy: string;
  /** In capitals without `CAP_`, sorted. */
  readonly cap_add: readonly string[];
  readonly cap_drop: readonly string[];
  readonly privileged: boolean;
  /** `default` for the engine's own bridge, `host`, `none`, `container:<id or name>`, or a network's name. */
  readonly network_mode: string;
  /** Bytes; 0 for no limit. */
  readonly mem_limit: number;
  /** Processors, in thousandths: 1500 are one and a half; 0 for no limit. */
  readonly cpus: number;
}

/** What a manifest says of it. What it does not say is left out. */
export type WantedConfig = Partial<ContainerConfig>;

/**
 * Files that are mounted into a container from the node, by their paths inside the container, each with the SHA-256 of its content:
 * `sha256:<64 hex>`.
 */
export type WantedFiles = Readonly<Record<string, string>>;

/*
 * What is needed to make a container beyond its configuration, and is not compared. Aliases and no interfaces, so that they are
 * values of JSON to the compiler too. What nobody says is left out.
 */

/** How the engine finds out whether the container is healthy. What is not said is the image's, then the engine's default. */
export type WantedHealthcheck = {
  /** Begins with `NONE`, `CMD` or `CMD-SHELL`. */
  readonly test?: readonly string[];
  readonly interval_ms?: number;
  readonly timeout_ms?: number;
  readonly start_period_ms?: number;
  readonly start_interval_ms?: number;
  readonly retries?: number;
};

/** A network that the container is attached to. */
export type WantedNetwork = {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly ipv4_address?: string;
  readonly ipv6_address?: string;
};

/** A mount of memory, empty at first. */
export type WantedTmpfs = {
  readonly target: string;
  /** As for `mount -t tmpfs -o`: `ro,size=67108864,mode=1777`; empty for the engine's own. */
  readonly options: string;
};

export type WantedCreation = {
  readonly healthcheck?: WantedHealthcheck;
  /** By the names the engine knows; the first is the one the container begins with. Never beside a `network_mode`. */
  readonly networks?: readonly WantedNetwork[];
  readonly tmpfs?: readonly WantedTmpfs[];
  /** What mounts are made with beyond `ro` and `rw`, by their targets: `rshared,z`, sorted. */
  readonly mount_options?: Readonly<Record<string, string>>;
  /** Keys of a compose service that compose makes its container with and we do not: what we make is not quite it. */
  readonly unmade?: readonly string[];
};
