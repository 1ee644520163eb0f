/** What a bench is asked for; whatever is undefined has the bench's own default. */
export interface BenchOptions {
  readonly runs: number | undefined;
  readonly seconds: number | undefined;
  readonly records: number | undefined;
  readonly agents: number | undefined;
  /** One line for whoever waits. */
  readonly progress: (text: string) => void;
}

/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly measured: number;
  readonly unit: string;
  /** The most it may be. */
  readonly limit?: number;
  /** The least it may be. */
  readonly atLeast?: number;
}

export interface BenchReport {
  /** What was measured, in one sentence. */
  readonly title: string;
  readonly rows: readonly Row[];
  /** What a reader must know to judge the figures. */
  readonly notes: readonly string[];
  /** The same for machines. */
  readonly facts: Readonly<Record<string, number | string | boolean>>;
}

/** Measures; leaves nothing behind that `removeLeftovers` does not remove. */
export interface Bench {
  run(options: BenchOptions): Promise<BenchReport>;
}
