import { readFile } from 'node:fs/promises';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { lineageProblem } from '../../common/lineage.ts';
import { printableJson, printableLines } from '../../common/printable.ts';
import { artifactRegister as registration } from '../api/artifacts-contract.ts';
import type { Artifact } from '../artifacts/artifact.ts';
import { withApi } from './api.ts';
import { type ArtifactHashOptions, type ArtifactWorld, hashFields, hashLine, hashNamed } from './artifact-hash.ts';
import type { CommandContext } from './context.ts';

export interface RegisterOptions {
  readonly name?: string;
  /** File with a JSON object. */
  readonly lineage?: string;
}

/** Hashes something and puts it on record. */
export async function artifactRegister(
  context: CommandContext & Pick<ArtifactWorld, 'env'>,
  target: string,
  { name, lineage, ...options }: ArtifactHashOptions & RegisterOptions,
): Promise<number> {
  // A mistake in it is told before something large is read.
  const given = lineage === undefined ? {} : await readLineage(lineage);
  const artifact = await hashNamed(context, target, options);
  const { sha256: hash, kind } = artifact;
  return withApi(context, async ({ api, contradictedField }) => {
    const body = { hash, kind, name: name ?? null, lineage: { ...imageOf(artifact), ...given } };
    const { registered_index: index, registered_at: at } = await api.call(registration, { body });
    const { json, stdout } = context;
    const fields = { ...hashFields(artifact, target), registered_index: index, registered_at: at };
    if (json) stdout.write(printableJson({ ...fields, ...contradictedField() }));
    else stdout.write(`${hashLine(artifact, target)}${printableLines(`on record since ${at}, entry ${index}`)}\n`);
    return exitCodes.done;
  });
}

/** An image goes by its first name, unless its lineage says another. */
function imageOf({ kind, tags: [image] }: Artifact): { readonly image?: string } {
  return kind === 'image' && image !== undefined ? { image } : {};
}

async function readLineage(path: string): Promise<object> {
  const text = await readFile(path, 'utf8').catch((thrown: unknown) => {
    throw new AppError('validation.request', `--lineage ${path} cannot be read (${errnoOf(thrown)})`, {
      cause: thrown,
    });
  });
  const value = text.length > limits.maxRequestBodyBytes ? undefined : parseJson(text, path);
  const problem = value === undefined ? 'too large' : lineageProblem(value);
  if (problem === undefined && typeof value === 'object' && value !== null) return value;
  throw new AppError('validation.request', `--lineage ${path} is refused: ${problem}`);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError('validation.request', `--lineage ${path} is not JSON`, { cause });
  }
}
