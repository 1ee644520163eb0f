import { z } from 'zod';
import { type Permission, permissionNames, permissions } from '../auth/permissions.ts';
import { type Contract, failure, isMedia, type Media, takesBody } from './contract.ts';
import { type FailureClass, failureClasses } from './failures.ts';
import { answerHeaders, requestHeaders } from './headers.ts';
import { createSchemaBook, type SchemaBook } from './json-schema.ts';
import type {
  MediaTypeObject,
  OpenApiDocument,
  OperationObject,
  ParameterObject,
  PathItem,
  Ref,
  ResponseObject,
} from './openapi-document.ts';

export interface ApiFacts {
  readonly version: string;
  /** What paths begin after: an absolute URL, or `/` for the server that the document came from. */
  readonly serverUrl: string;
  /** Of the ledger. */
  readonly origin: string;
  /** What everybody may who has not signed in. */
  readonly open: ReadonlySet<Permission>;
}

const bearer = 'bearer';
const json = 'application/json';
const anyFailure = 'Failure';

/**
 * The API as an OpenAPI 3.1 document: equal for equal contracts and facts.
 * @throws Error for contracts that it cannot be written for; see {@link SchemaBook}.
 */
export function describeApi(contracts: readonly Contract[], facts: ApiFacts): OpenApiDocument {
  const book = createSchemaBook();
  const paths = pathsOf(contracts, facts, book);
  const responses = sharedResponses(book);
  return {
    openapi: '3.1.0',
    info: { title: 'Sigilwatch collector', version: facts.version, description: `The collector of ${facts.origin}.` },
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    servers: [{ url: facts.serverUrl }],
    tags: [...new Set(contracts.map(tagOf))].map((name) => ({ name })),
    paths,
    components: {
      schemas: book.named(),
      parameters: Object.fromEntries(
        requestHeaders.map(({ name, description, schema }) => [name, { name, in: 'header', description, schema }]),
      ),
      headers: Object.fromEntries(
        answerHeaders.map(({ name, description, schema }) => [name, { description, schema }]),
      ),
      responses,
      securitySchemes: { [bearer]: { type: 'http', scheme: 'bearer' } },
    },
    'x-permissions': permissionsUsed(contracts),
  };
}

function pathsOf(contracts: readonly Contract[], facts: ApiFacts, book: SchemaBook): Record<string, PathItem> {
  const paths: Record<string, PathItem> = {};
  for (const contract of contracts) {
    const path = templateOf(contract.path);
    paths[path] = { ...paths[path], [contract.method]: operationOf(contract, facts, book) };
  }
  return paths;
}

/** `/orders/:hash` as `/orders/{hash}`, and `/tile/:path{.+}` as `/tile/{path}`. */
export function templateOf(path: string): string {
  return path.replace(/:(\w+)(\{(?:[^{}]|\{[^{}]*\})*\})?/g, '{$1}');
}

/** The resource of an operation, as people say it. */
function tagOf({ operation }: Contract): string {
  return (operation.split('.')[0] ?? operation).replaceAll('_', ' ');
}

function operationOf(contract: Contract, { open }: ApiFacts, book: SchemaBook): OperationObject {
  const { operation, summary, permission, aliases } = contract;
  const isOpen = open.has(permission);
  return {
    operationId: operation,
    summary,
    tags: [tagOf(contract)],
    security: isOpen ? [] : [{ [bearer]: [] }],
    'x-permission': permission,
    ...(aliases.length > 0 && { 'x-aliases': aliases.map(templateOf) }),
    parameters: parametersOf(contract, book),
    ...(takesBody(contract) && {
      requestBody: {
        required: true,
        description: contract.bodyIs,
        content: { [json]: { schema: book.write(contract.body, 'input') } },
      },
    }),
    responses: responsesOf(contract, isOpen, book),
  };
}

function parametersOf(contract: Contract, book: SchemaBook): (ParameterObject | Ref)[] {
  const headers = requestHeaders.filter(({ takenBy }) => takenBy(contract));
  return [
    ...Object.entries(contract.params.shape).map(([name, schema]) => parameter('path', name, schema, book)),
    ...Object.entries(contract.query.shape).map(([name, schema]) => parameter('query', name, schema, book)),
    ...headers.map(({ name }) => ({ $ref: `#/components/parameters/${name}` })),
  ];
}

function parameter(where: 'path' | 'query', name: string, schema: z.core.$ZodType, book: SchemaBook): ParameterObject {
  if (!(schema instanceof z.ZodType)) throw new Error(`the parameter ${name} is not of a schema that can be written`);
  const { description, ...rest } = book.write(schema, 'input');
  const required = where === 'path' || !schema.safeParse(undefined).success;
  return {
    name,
    in: where,
    ...(required && { required }),
    ...(description !== undefined && { description }),
    schema: rest,
  };
}

const meanings: Readonly<Record<number, string>> = {
  200: 'what was asked for',
  201: 'it was made',
  202: 'it was taken, and will be done',
  204: 'it was done; there is nothing to tell',
  503: 'not at this moment',
};

function responsesOf(contract: Contract, isOpen: boolean, book: SchemaBook): Record<string, ResponseObject | Ref> {
  const failures = failureClasses.filter(({ toldBy }) => toldBy(contract, isOpen));
  return {
    ...Object.fromEntries(failures.map(({ status, name }) => [status, { $ref: `#/components/responses/${name}` }])),
    ...Object.fromEntries(
      Object.entries(contract.answers).map(([status, answer]) => [status, responseOf(Number(status), answer, book)]),
    ),
    default: { $ref: `#/components/responses/${anyFailure}` },
  };
}

function responseOf(status: number, answer: z.ZodType | Media, book: SchemaBook): ResponseObject {
  const headers = headersOf(status);
  if (isMedia(answer)) {
    const content = Object.fromEntries(answer.media.map((media) => [media, mediaOf(media)]));
    return { description: answer.description, headers, content };
  }
  const description = meanings[status] ?? 'an answer';
  if (answer instanceof z.ZodUndefined || answer instanceof z.ZodVoid) return { description, headers };
  return { description, headers, content: { [json]: { schema: book.write(answer, 'output') } } };
}

/** Text is text; of what is bytes, or JSON that is described elsewhere, nothing is said. */
function mediaOf(media: string): MediaTypeObject {
  return media.startsWith('text/') ? { schema: { type: 'string' } } : {};
}

function headersOf(status: number | undefined): Record<string, Ref> {
  const sent = answerHeaders.filter(
    ({ statuses }) => statuses === undefined || (status !== undefined && statuses.includes(status)),
  );
  return Object.fromEntries(sent.map(({ name }) => [name, { $ref: `#/components/headers/${name}` }]));
}

function sharedResponses(book: SchemaBook): Record<string, ResponseObject> {
  const content = { [json]: { schema: book.write(failure, 'output') } };
  const shared = ({ status, name, codes, description }: FailureClass): [string, ResponseObject] => [
    name,
    { description: `${codes.join(', ')}: ${description}`, headers: headersOf(status), content },
  ];
  return {
    ...Object.fromEntries(failureClasses.map(shared)),
    [anyFailure]: { description: 'any other failure', headers: headersOf(undefined), content },
  };
}

function permissionsUsed(contracts: readonly Contract[]): OpenApiDocument['x-permissions'] {
  const used = new Set(contracts.map(({ permission }) => permission));
  return Object.fromEntries(
    permissionNames
      .filter((name) => used.has(name))
      .map((name) => [name, { allows: permissions[name].allows, roles: permissions[name].roles }]),
  );
}
