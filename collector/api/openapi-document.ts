import type { Role } from '../auth/permissions.ts';
import type { Method } from './contract.ts';
import type { JsonSchema } from './json-schema.ts';

/*
 * As much of OpenAPI 3.1 as is written here (https://spec.openapis.org/oas/v3.1.0).
 */

export interface Ref {
  readonly $ref: string;
}

export interface ParameterObject {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: true;
  readonly description?: string;
  readonly schema: JsonSchema;
}

export interface MediaTypeObject {
  readonly schema?: JsonSchema;
}

export interface ResponseObject {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Ref>>;
  readonly content?: Readonly<Record<string, MediaTypeObject>>;
}

export interface OperationObject {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly [string];
  /** Empty for a route that is open to everybody. */
  readonly security: readonly Readonly<Record<string, readonly []>>[];
  readonly parameters: readonly (ParameterObject | Ref)[];
  readonly requestBody?: {
    readonly required: true;
    readonly description: string;
    readonly content: Readonly<Record<string, MediaTypeObject>>;
  };
  readonly responses: Readonly<Record<string, ResponseObject | Ref>>;
  readonly 'x-permission': string;
  /** Other paths of the same. */
  readonly 'x-aliases'?: readonly string[];
}

export type PathItem = Readonly<Partial<Record<Method, OperationObject>>>;

export interface OpenApiDocument {
  readonly openapi: '3.1.0';
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly jsonSchemaDialect: string;
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly parameters: Readonly<Record<string, ParameterObject>>;
    readonly headers: Readonly<Record<string, { readonly description: string; readonly schema: JsonSchema }>>;
    readonly responses: Readonly<Record<string, ResponseObject>>;
    readonly securitySchemes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  };
  /** What each permission allows, and who has it. */
  readonly 'x-permissions': Readonly<Record<string, { readonly allows: string; readonly roles: readonly Role[] }>>;
}

/** An operation and where it is. */
export interface PlacedOperation {
  readonly path: string;
  readonly method: Method;
  readonly operation: OperationObject;
}
