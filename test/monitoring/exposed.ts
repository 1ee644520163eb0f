/** What a program exposes, as Prometheus reads it. */
export interface Exposed {
  readonly name: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
}

/** Reads the text format (version 0.0.4), as far as our programs write it. */
export function readExposed(text: string): Exposed[] {
  const lines = text.split('\n');
  const types = lines.flatMap((line) => {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    return name === undefined || type === undefined ? [] : [{ name, type }];
  });
  return types.map(({ name, type }) => {
    const series = new RegExp(`^${name}${type === 'histogram' ? '(_bucket|_sum|_count)' : ''}[ {]`);
    return { name, type, samples: lines.filter((line) => series.test(line)).map(readSample) };
  });
}

function readSample(line: string): Sample {
  const inBraces = /\{(.*)\} /.exec(line)?.[1] ?? '';
  const pairs = [...inBraces.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return { labels: Object.fromEntries(pairs.map(([, label = '', value = '']) => [label, value])) };
}

/**
 * Every label there is, and how many values it can have. None is a container, key, id, address or node: a metric of a collector is about
 * all nodes, one of an agent about its own.
 */
export const boundedLabels: Readonly<Record<string, number>> = {
  le: 20,
  // Of Node itself.
  ...{ type: 40, kind: 40, space: 10, version: 1, major: 1, minor: 1, patch: 1, quantile: 10 },
  // Routes by their pattern, and closed words of ours.
  ...{ route: 150, method: 10, status: 20, code: 60, coverage: 10, mode: 2, state: 12, check: 20, severity: 5 },
  skew: 5,
  ...{ action: 20, outcome: 20, name: 60, reason: 40, stream: 10, transport: 5, rule: 100, result: 10, part: 20 },
  // Named in settings, which bound them.
  ...{ store: 1_000, channel: 60, service: 60 },
};
